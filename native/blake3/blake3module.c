/* The Python module `blake3` over the official C implementation, for WebAssembly.

   Its interface, and the types of its errors, are those of PyPI's `blake3`; native/blake3/README.md says what is
   missing. It uses nothing but CPython's stable ABI of 3.12, so one binary serves that version and all later
   ones. It never gives up the GIL: Pyodide has one thread. */

#ifdef CRA_WASM_CPYTHON_HEADERS /* the test that holds python_abi3.h to them; the build never */
#include <Python.h>
#else
#include "python_abi3.h"
#endif

#include "blake3.h"

#define AUTO (-1)

typedef struct {
  PyObject_HEAD
  blake3_hasher hasher;
} Blake3;

/* Buffers */

/* Whether a format of the struct module stands for one byte: "B", "b" or "c", in any byte order. */
static int is_byte_format(const char *format) {
  if (format == NULL) return 1; /* unsigned bytes, by the buffer protocol's definition */
  if (*format == '@' || *format == '=' || *format == '<' || *format == '>' || *format == '!') format += 1;
  return (*format == 'B' || *format == 'b' || *format == 'c') && format[1] == '\0';
}

/* Fill `view` with the contiguous bytes of `object`; the caller releases it. Return 0, or -1 with an error set. */
static int get_bytes(PyObject *object, Py_buffer *view) {
  if (PyObject_GetBuffer(object, view, PyBUF_FULL_RO) < 0) return -1;
  if (view->itemsize != 1 || !is_byte_format(view->format)) {
    PyErr_SetString(PyExc_BufferError, "the buffer's items are not bytes: pass memoryview(...).cast('B')");
  } else if (!PyBuffer_IsContiguous(view, 'C')) {
    PyErr_SetString(PyExc_BufferError, "the buffer is not contiguous: pass a copy, such as bytes(...)");
  } else {
    return 0;
  }
  PyBuffer_Release(view);
  return -1;
}

static int update_with(Blake3 *self, PyObject *data) {
  Py_buffer view;
  if (get_bytes(data, &view) < 0) return -1;
  blake3_hasher_update(&self->hasher, view.buf, (size_t)view.len);
  PyBuffer_Release(&view);
  return 0;
}

/* Making one */

static int init_keyed(Blake3 *self, PyObject *key) {
  Py_buffer view;
  if (get_bytes(key, &view) < 0) return -1;
  const int fits = view.len == BLAKE3_KEY_LEN;
  if (fits) {
    blake3_hasher_init_keyed(&self->hasher, view.buf);
  } else {
    PyErr_Format(PyExc_ValueError, "a key has %d bytes, this one has %zd", BLAKE3_KEY_LEN, view.len);
  }
  PyBuffer_Release(&view);
  return fits ? 0 : -1;
}

static int init_derive_key(Blake3 *self, PyObject *context) {
  Py_ssize_t size;
  const char *text = PyUnicode_AsUTF8AndSize(context, &size);
  if (text == NULL) return -1;
  blake3_hasher_init_derive_key_raw(&self->hasher, text, (size_t)size);
  return 0;
}

static int init(Blake3 *self, PyObject *key, PyObject *context) {
  if (key != Py_None && context != Py_None) {
    PyErr_SetString(PyExc_ValueError, "key and derive_key_context exclude each other: leave one out");
    return -1;
  }
  if (key != Py_None) return init_keyed(self, key);
  if (context != Py_None) return init_derive_key(self, context);
  blake3_hasher_init(&self->hasher);
  return 0;
}

static int check_max_threads(PyObject *max_threads) {
  if (max_threads == NULL) return 0;
  const Py_ssize_t number = PyNumber_AsSsize_t(max_threads, PyExc_OverflowError);
  if (number == -1 && PyErr_Occurred()) return -1;
  if (number >= 1 || number == AUTO) return 0;
  PyErr_SetString(PyExc_ValueError, "max_threads is neither positive nor blake3.AUTO");
  return -1;
}

static PyObject *new(PyTypeObject *type, PyObject *args, PyObject *kwargs) {
  static char *names[] = {"", "key", "derive_key_context", "max_threads", "usedforsecurity", NULL};
  PyObject *data = Py_None, *key = Py_None, *context = Py_None, *max_threads = NULL, *used = NULL;
  if (!PyArg_ParseTupleAndKeywords(args, kwargs, "|O$OOOO!:blake3", names, &data, &key, &context, &max_threads,
                                   &PyBool_Type, &used)) {
    return NULL;
  }
  if (check_max_threads(max_threads) < 0) return NULL;
  Blake3 *self = PyObject_New(Blake3, type);
  if (self == NULL) return NULL;
  if (init(self, key, context) < 0 || (data != Py_None && update_with(self, data) < 0)) {
    Py_DecRef((PyObject *)self);
    return NULL;
  }
  return (PyObject *)self;
}

static void dealloc(PyObject *self) {
  PyTypeObject *type = Py_TYPE(self);
  PyObject_Free(self);
  Py_DecRef((PyObject *)type); /* each object of a heap type holds a reference to it */
}

/* Methods */

static PyObject *update(PyObject *self, PyObject *data) {
  if (update_with((Blake3 *)self, data) < 0) return NULL;
  Py_IncRef(self);
  return self;
}

static PyObject *copy(PyObject *self, PyObject *unused) {
  (void)unused;
  Blake3 *twin = PyObject_New(Blake3, Py_TYPE(self));
  if (twin != NULL) twin->hasher = ((Blake3 *)self)->hasher;
  return (PyObject *)twin;
}

static PyObject *reset(PyObject *self, PyObject *unused) {
  (void)unused;
  blake3_hasher_reset(&((Blake3 *)self)->hasher);
  Py_IncRef(Py_None);
  return Py_None;
}

/* Read `length` and `seek`, which have their defaults already. Return 0, or -1 with an error set. */
static int parse_output(PyObject *args, PyObject *kwargs, const char *format, size_t *length, uint64_t *seek) {
  static char *names[] = {"length", "seek", NULL};
  PyObject *length_object = NULL, *seek_object = NULL;
  if (!PyArg_ParseTupleAndKeywords(args, kwargs, format, names, &length_object, &seek_object)) return -1;
  if (length_object != NULL) {
    PyObject *number = PyNumber_Index(length_object);
    if (number == NULL) return -1;
    *length = PyLong_AsSize_t(number);
    Py_DecRef(number);
    if (*length == (size_t)-1 && PyErr_Occurred()) return -1;
  }
  if (seek_object != NULL) {
    PyObject *number = PyNumber_Index(seek_object);
    if (number == NULL) return -1;
    *seek = PyLong_AsUnsignedLongLong(number);
    Py_DecRef(number);
    if (*seek == (uint64_t)-1 && PyErr_Occurred()) return -1;
  }
  return 0;
}

static PyObject *refuse_length(void) {
  PyErr_SetString(PyExc_OverflowError, "length is more than an object can hold");
  return NULL;
}

static PyObject *digest(PyObject *self, PyObject *args, PyObject *kwargs) {
  size_t length = BLAKE3_OUT_LEN;
  uint64_t seek = 0;
  if (parse_output(args, kwargs, "|O$O:digest", &length, &seek) < 0) return NULL;
  if (length > PY_SSIZE_T_MAX) return refuse_length();
  PyObject *bytes = PyBytes_FromStringAndSize(NULL, (Py_ssize_t)length);
  if (bytes == NULL) return NULL;
  blake3_hasher_finalize_seek(&((Blake3 *)self)->hasher, seek, (uint8_t *)PyBytes_AsString(bytes), length);
  return bytes;
}

static PyObject *hexdigest(PyObject *self, PyObject *args, PyObject *kwargs) {
  static const char digits[] = "0123456789abcdef";
  size_t length = BLAKE3_OUT_LEN;
  uint64_t seek = 0;
  if (parse_output(args, kwargs, "|O$O:hexdigest", &length, &seek) < 0) return NULL;
  if (length > PY_SSIZE_T_MAX / 2) return refuse_length();
  /* Room for the text, which the digest is spread over from its second half: both in one piece of memory. */
  char *text = PyMem_Malloc(2 * length);
  if (text == NULL) return PyErr_NoMemory();
  const uint8_t *bytes = (uint8_t *)text + length;
  blake3_hasher_finalize_seek(&((Blake3 *)self)->hasher, seek, (uint8_t *)text + length, length);
  for (size_t i = 0; i < length; i += 1) {
    const uint8_t byte = bytes[i];
    text[2 * i] = digits[byte >> 4];
    text[2 * i + 1] = digits[byte & 15];
  }
  PyObject *answer = PyUnicode_FromStringAndSize(text, (Py_ssize_t)(2 * length));
  PyMem_Free(text);
  return answer;
}

/* The type and the module. A docstring's first line is what inspect.signature reads. */

static PyMethodDef methods[] = {
    {"update", update, METH_O,
     "update($self, data, /)\n--\n\n"
     "Hash more bytes and return this object, so that calls can be chained.\n\n"
     "Raises TypeError where data has no buffer, BufferError where its items are not bytes or not contiguous."},
    {"digest", (PyCFunction)(void (*)(void))digest, METH_VARARGS | METH_KEYWORDS,
     "digest($self, length=32, *, seek=0)\n--\n\n"
     "Return `length` bytes of output, beginning at byte `seek` of it; the object stays as it is.\n\n"
     "A shorter output is the beginning of a longer one. Raises OverflowError for a negative number, a length\n"
     "that no bytes object can have, a seek of 2**64 or more."},
    {"hexdigest", (PyCFunction)(void (*)(void))hexdigest, METH_VARARGS | METH_KEYWORDS,
     "hexdigest($self, length=32, *, seek=0)\n--\n\n"
     "Return what digest returns as lower-case hexadecimal text; length and seek still count bytes."},
    {"copy", copy, METH_NOARGS,
     "copy($self)\n--\n\nReturn an independent object that has hashed the same bytes in the same mode."},
    {"reset", reset, METH_NOARGS,
     "reset($self)\n--\n\nForget all bytes, those given to the constructor too; key and context stay."},
    {NULL, NULL, 0, NULL},
};

static const char type_doc[] =
    "blake3(data=None, /, *, key=None, derive_key_context=None, max_threads=1, usedforsecurity=True)\n--\n\n"
    "Hash bytes incrementally with BLAKE3.\n\n"
    "data: any contiguous buffer of bytes, hashed at once. key: 32 bytes, for the keyed mode.\n"
    "derive_key_context: a text, for the key derivation mode; not together with key.\n"
    "max_threads: a positive number or blake3.AUTO, checked and then ignored: there is one thread.\n"
    "usedforsecurity: a bool, ignored.\n\n"
    "Raises ValueError for a key of another length, key with derive_key_context, max_threads below 1;\n"
    "TypeError and BufferError as update does. There is no update_mmap.";

static PyType_Slot type_slots[] = {
    {Py_tp_doc, (void *)type_doc},
    {Py_tp_new, (void *)new},
    {Py_tp_dealloc, (void *)dealloc},
    {Py_tp_methods, methods},
    {0, NULL},
};

static PyType_Spec type_spec = {
    .name = "blake3.blake3",
    .basicsize = sizeof(Blake3),
    .flags = Py_TPFLAGS_DEFAULT,
    .slots = type_slots,
};

/* Constants of the class; those in capitals are the module's too. */
static const struct {
  const char *name;
  long value;
} constants[] = {
    {"digest_size", BLAKE3_OUT_LEN}, {"block_size", BLAKE3_BLOCK_LEN}, {"key_size", BLAKE3_KEY_LEN},
    {"OUT_LEN", BLAKE3_OUT_LEN},     {"KEY_LEN", BLAKE3_KEY_LEN},      {"MAX_THREADS", 1},
    {"AUTO", AUTO},
};

/* Set an attribute and give up the reference to its value; a NULL value is an error that is set already. */
static int set_attribute(PyObject *object, const char *name, PyObject *value) {
  if (value == NULL) return -1;
  const int status = PyObject_SetAttrString(object, name, value);
  Py_DecRef(value);
  return status;
}

static int fill_type(PyObject *type, PyObject *module) {
  if (set_attribute(type, "name", PyUnicode_FromString("blake3")) < 0) return -1;
  for (size_t i = 0; i < sizeof(constants) / sizeof(constants[0]); i += 1) {
    const char *name = constants[i].name;
    if (set_attribute(type, name, PyLong_FromLong(constants[i].value)) < 0) return -1;
    const int capital = name[0] >= 'A' && name[0] <= 'Z';
    if (capital && PyModule_AddIntConstant(module, name, constants[i].value) < 0) return -1;
  }
  return PyModule_AddType(module, (PyTypeObject *)type);
}

static int exec_module(PyObject *module) {
  if (PyModule_AddStringConstant(module, "__version__", WHEEL_VERSION) < 0) return -1;
  PyObject *type = PyType_FromModuleAndSpec(module, &type_spec, NULL);
  if (type == NULL) return -1;
  const int status = fill_type(type, module);
  Py_DecRef(type);
  return status;
}

static PyModuleDef_Slot module_slots[] = {{Py_mod_exec, (void *)exec_module}, {0, NULL}};

static PyModuleDef module_def = {
    .m_base = PyModuleDef_HEAD_INIT,
    .m_name = "blake3",
    .m_doc = "BLAKE3 by its official C implementation, with the interface of PyPI's blake3, for WebAssembly.",
    .m_slots = module_slots,
};

PyMODINIT_FUNC PyInit_blake3(void);
PyMODINIT_FUNC PyInit_blake3(void) { return PyModuleDef_Init(&module_def); }
