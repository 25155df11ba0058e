/* The hot functions in C: the twin of py.py (and of aio/_fast_path.py), which says what they do
 * and is what they are tested against. */

#include "_c.h"

static int
prepare(PyObject *module)
{
    if (prepare_keys(module) < 0 || PyModule_AddFunctions(module, encode_functions) < 0
        || PyModule_AddFunctions(module, scan_functions) < 0) {
        return -1;
    }
    return PyModule_AddFunctions(module, socket_functions) < 0 ? -1 : prepare_fast_path(module);
}

static int
traverse(PyObject *module, visitproc visit, void *arg)
{
    module_state *state = PyModule_GetState(module);
    if (state != NULL) {
        Py_VISIT(state->urandom);
    }
    return 0;
}

static int
clear(PyObject *module)
{
    module_state *state = PyModule_GetState(module);
    if (state != NULL) {
        Py_CLEAR(state->urandom);
    }
    return 0;
}

static PyModuleDef_Slot slots[] = {
    {Py_mod_exec, prepare},
#ifdef Py_mod_multiple_interpreters
    {Py_mod_multiple_interpreters, Py_MOD_PER_INTERPRETER_GIL_SUPPORTED},
#endif
#ifdef Py_mod_gil
    {Py_mod_gil, Py_MOD_GIL_NOT_USED},
#endif
    {0, NULL},
};

static struct PyModuleDef module = {
    PyModuleDef_HEAD_INIT,
    .m_name = "websocket._accel._c",
    .m_doc = "The hot functions in C, see py.py.",
    .m_size = sizeof(module_state),
    .m_methods = key_functions,
    .m_slots = slots,
    .m_traverse = traverse,
    .m_clear = clear,
};

PyMODINIT_FUNC
PyInit__c(void)
{
    return PyModuleDef_Init(&module);
}
