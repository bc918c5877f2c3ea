/* In place of the pyconfig.h beside a <Python.h> of this machine: the few facts about wasm32 that the headers
   of the limited API ask for. */
#define Py_PYCONFIG_H
#define SIZEOF_SHORT 2
#define SIZEOF_INT 4
#define SIZEOF_LONG 4
#define SIZEOF_LONG_LONG 8
#define SIZEOF_VOID_P 4
#define SIZEOF_SIZE_T 4
#define SIZEOF_TIME_T 8
#define SIZEOF_WCHAR_T 4
#define HAVE_STDINT_H 1
#define HAVE_WCHAR_H 1
