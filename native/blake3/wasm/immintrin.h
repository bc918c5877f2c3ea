/* The SSE intrinsics that BLAKE3's blake3_sse41.c uses, said in WebAssembly's: found in place of the compiler's
   own <immintrin.h>, it lets that file, made and reviewed upstream, run on 128-bit vectors in WebAssembly.

   Each definition is Intel's, lane for lane. Macros where an immediate has to stay a constant. */

#ifndef CRA_WASM_IMMINTRIN_H
#define CRA_WASM_IMMINTRIN_H

#include <wasm_simd128.h>

typedef v128_t __m128i;

#define _mm_loadu_si128(from) wasm_v128_load(from)
#define _mm_storeu_si128(to, a) wasm_v128_store((to), (a))
#define _mm_set1_epi32(x) wasm_i32x4_splat(x)
#define _mm_setr_epi32(a, b, c, d) wasm_i32x4_make((a), (b), (c), (d))
#define _mm_set_epi32(d, c, b, a) wasm_i32x4_make((a), (b), (c), (d))
#define _mm_set_epi8(p, o, n, m, l, k, j, i, h, g, f, e, d, c, b, a) \
  wasm_i8x16_const((a), (b), (c), (d), (e), (f), (g), (h), (i), (j), (k), (l), (m), (n), (o), (p))

#define _mm_add_epi32(a, b) wasm_i32x4_add((a), (b))
#define _mm_sub_epi32(a, b) wasm_i32x4_sub((a), (b))
#define _mm_xor_si128(a, b) wasm_v128_xor((a), (b))
#define _mm_and_si128(a, b) wasm_v128_and((a), (b))
#define _mm_cmpgt_epi32(a, b) wasm_i32x4_gt((a), (b))
#define _mm_slli_epi32(a, count) wasm_i32x4_shl((a), (count))
#define _mm_srli_epi32(a, count) wasm_u32x4_shr((a), (count))

/* Equal for indexes below 16, the only ones in that file; pshufb and swizzle differ above. */
#define _mm_shuffle_epi8(a, indexes) wasm_i8x16_swizzle((a), (indexes))
#define _MM_SHUFFLE(z, y, x, w) (((z) << 6) | ((y) << 4) | ((x) << 2) | (w))
#define _mm_shuffle_epi32(a, s) \
  wasm_i32x4_shuffle((a), (a), (s) & 3, ((s) >> 2) & 3, ((s) >> 4) & 3, ((s) >> 6) & 3)
#define _mm_castsi128_ps(a) (a)
#define _mm_castps_si128(a) (a)
#define _mm_shuffle_ps(a, b, s) \
  wasm_i32x4_shuffle((a), (b), (s) & 3, ((s) >> 2) & 3, (((s) >> 4) & 3) + 4, (((s) >> 6) & 3) + 4)
#define _mm_blend_epi16(a, b, mask)                                                            \
  wasm_i16x8_shuffle((a), (b), (mask) & 1 ? 8 : 0, (mask) & 2 ? 9 : 1, (mask) & 4 ? 10 : 2,    \
                     (mask) & 8 ? 11 : 3, (mask) & 16 ? 12 : 4, (mask) & 32 ? 13 : 5,          \
                     (mask) & 64 ? 14 : 6, (mask) & 128 ? 15 : 7)
#define _mm_unpacklo_epi32(a, b) wasm_i32x4_shuffle((a), (b), 0, 4, 1, 5)
#define _mm_unpackhi_epi32(a, b) wasm_i32x4_shuffle((a), (b), 2, 6, 3, 7)
#define _mm_unpacklo_epi64(a, b) wasm_i64x2_shuffle((a), (b), 0, 2)
#define _mm_unpackhi_epi64(a, b) wasm_i64x2_shuffle((a), (b), 1, 3)

/* A hint to the cache; WebAssembly has none. */
#define _MM_HINT_T0 0
#define _mm_prefetch(address, hint) ((void)(address))

#endif
