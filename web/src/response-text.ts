/** The text of an answer from elsewhere, of which no more is read than anybody asked for. */

import { joinBytes } from "./bytes.js";

const decoder = new TextDecoder();

/** Return the whole text, or null where it has more than `maxBytes`. Rejects where the answer breaks off. */
export async function textWithin({ body }: Response, maxBytes: number): Promise<string | null> {
  if (body === null) return "";
  const reader = body.getReader();
  const parts: Uint8Array[] = [];
  let size = 0;
  try {
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return decoder.decode(joinBytes(parts));
      size += value.length;
      if (size > maxBytes) return null;
      parts.push(value);
    }
  } finally {
    await reader.cancel().catch(() => undefined);
  }
}
