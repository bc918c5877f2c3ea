/* What blake3module.c uses of CPython's stable ABI, declared here so that building needs no CPython headers.

   The build has to work where only Python 3.11 is installed, and no registry ships headers of a CPython for
   wasm32. The stable ABI fixes these names, signatures, numbers and layouts for 3.12 and everything after it
   ("abi3"), and nothing here is outside of it. tests/build/test_blake3_wheel.py compiles the module against
   this file and against CPython's own <Python.h>, where a 3.12 or newer one is installed: the object files
   have to be equal byte for byte.

   Layouts are those of a CPython with a GIL, which is what the tag abi3 stands for. */

#ifndef CRA_WASM_PYTHON_ABI3_H
#define CRA_WASM_PYTHON_ABI3_H

#include <stddef.h>
#include <stdint.h>

typedef intptr_t Py_ssize_t;
#define PY_SSIZE_T_MAX INTPTR_MAX

typedef struct _typeobject PyTypeObject;
typedef struct _object {
  Py_ssize_t ob_refcnt;
  PyTypeObject *ob_type;
} PyObject;
#define PyObject_HEAD PyObject ob_base;
#define Py_TYPE(object) (((PyObject *)(object))->ob_type)

typedef PyObject *(*PyCFunction)(PyObject *, PyObject *);
typedef struct {
  const char *ml_name;
  PyCFunction ml_meth;
  int ml_flags;
  const char *ml_doc;
} PyMethodDef;
#define METH_VARARGS 0x0001
#define METH_KEYWORDS 0x0002
#define METH_NOARGS 0x0004
#define METH_O 0x0008

/* Modules. */
typedef struct {
  int slot;
  void *value;
} PyModuleDef_Slot;
typedef struct {
  PyObject ob_base;
  PyObject *(*m_init)(void);
  Py_ssize_t m_index;
  PyObject *m_copy;
} PyModuleDef_Base;
typedef struct {
  PyModuleDef_Base m_base;
  const char *m_name;
  const char *m_doc;
  Py_ssize_t m_size;
  PyMethodDef *m_methods;
  PyModuleDef_Slot *m_slots;
  void *m_traverse, *m_clear, *m_free; /* pointers to functions; none is used here */
} PyModuleDef;
/* The count of one that CPython starts static objects with; PyModuleDef_Init sets the rest. */
#define PyModuleDef_HEAD_INIT {{1, NULL}, NULL, 0, NULL}
#define Py_mod_exec 2
#define PyMODINIT_FUNC __attribute__((visibility("default"))) PyObject *
PyObject *PyModuleDef_Init(PyModuleDef *);
int PyModule_AddType(PyObject *module, PyTypeObject *);
int PyModule_AddIntConstant(PyObject *module, const char *name, long value);
int PyModule_AddStringConstant(PyObject *module, const char *name, const char *value);

/* Types and objects. */
typedef struct {
  int slot;
  void *pfunc;
} PyType_Slot;
typedef struct {
  const char *name;
  int basicsize;
  int itemsize;
  unsigned int flags;
  PyType_Slot *slots;
} PyType_Spec;
#define Py_tp_dealloc 52
#define Py_tp_doc 56
#define Py_tp_methods 64
#define Py_tp_new 65
#define Py_TPFLAGS_DEFAULT 0
PyObject *PyType_FromModuleAndSpec(PyObject *module, PyType_Spec *, PyObject *bases);
PyObject *_PyObject_New(PyTypeObject *);
#define PyObject_New(struct_type, type) ((struct_type *)_PyObject_New(type))
void PyObject_Free(void *);
int PyObject_SetAttrString(PyObject *, const char *name, PyObject *value);
void Py_IncRef(PyObject *);
void Py_DecRef(PyObject *);

/* The buffer protocol. */
typedef struct {
  void *buf;
  PyObject *obj;
  Py_ssize_t len;
  Py_ssize_t itemsize;
  int readonly;
  int ndim;
  char *format;
  Py_ssize_t *shape, *strides, *suboffsets;
  void *internal;
} Py_buffer;
#define PyBUF_FULL_RO 0x011c
int PyObject_GetBuffer(PyObject *, Py_buffer *, int flags);
int PyBuffer_IsContiguous(const Py_buffer *, char order);
void PyBuffer_Release(Py_buffer *);

/* Arguments and values. */
int PyArg_ParseTupleAndKeywords(PyObject *args, PyObject *kwargs, const char *format, char **names, ...);
PyObject *PyNumber_Index(PyObject *);
Py_ssize_t PyNumber_AsSsize_t(PyObject *, PyObject *overflow);
size_t PyLong_AsSize_t(PyObject *);
unsigned long long PyLong_AsUnsignedLongLong(PyObject *);
PyObject *PyLong_FromLong(long);
PyObject *PyBytes_FromStringAndSize(const char *, Py_ssize_t);
char *PyBytes_AsString(PyObject *);
PyObject *PyUnicode_FromString(const char *);
PyObject *PyUnicode_FromStringAndSize(const char *, Py_ssize_t);
const char *PyUnicode_AsUTF8AndSize(PyObject *, Py_ssize_t *size);
void *PyMem_Malloc(size_t);
void PyMem_Free(void *);

/* Errors and singletons. */
extern PyTypeObject PyBool_Type;
extern PyObject _Py_NoneStruct;
#define Py_None (&_Py_NoneStruct)
extern PyObject *PyExc_BufferError, *PyExc_OverflowError, *PyExc_ValueError;
PyObject *PyErr_Format(PyObject *type, const char *format, ...);
void PyErr_SetString(PyObject *type, const char *message);
PyObject *PyErr_NoMemory(void);
PyObject *PyErr_Occurred(void);

#endif
