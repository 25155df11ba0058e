/* Mask keys (RFC 6455 section 5.3).
 *
 * The one thing that the module keeps is a pool of them in its state, of which each interpreter
 * has its own. Without a GIL the module's critical section guards it. */

#include "_c.h"

#ifndef Py_BEGIN_CRITICAL_SECTION /* before 3.13 there is always a GIL */
#define Py_BEGIN_CRITICAL_SECTION(object) {
#define Py_END_CRITICAL_SECTION() }
#endif

/* Four bytes of the operating system's randomness, used once (section 5.3: unpredictable). */
int
take_key(PyObject *module, unsigned char *key)
{
    module_state *state = PyModule_GetState(module);
    int taken = 0;

    Py_BEGIN_CRITICAL_SECTION(module);
    if (state->left < 4) {
        PyObject *fresh = PyObject_CallFunction(state->urandom, "i", POOL_SIZE);
        if (fresh != NULL && PyBytes_Check(fresh) && PyBytes_GET_SIZE(fresh) == POOL_SIZE) {
            memcpy(state->pool, PyBytes_AS_STRING(fresh), POOL_SIZE);
            state->left = POOL_SIZE;
        }
        else if (fresh != NULL) {
            PyErr_SetString(PyExc_SystemError, "os.urandom() returned something else");
        }
        Py_XDECREF(fresh);
    }
    if (state->left >= 4) {
        state->left -= 4;
        memcpy(key, state->pool + state->left, 4);
        taken = 1;
    }
    Py_END_CRITICAL_SECTION();
    return taken;
}

PyDoc_STRVAR(forget_keys_doc,
"forget_keys($module, /)\n--\n\n"
"Use no key of the pool any more: a forked child has a copy of it.");

static PyObject *
forget_keys(PyObject *module, PyObject *Py_UNUSED(none))
{
    module_state *state = PyModule_GetState(module);
    state->left = 0;
    Py_RETURN_NONE;
}

PyDoc_STRVAR(mask_key_doc,
"mask_key($module, /)\n--\n\n"
"Four bytes of the operating system's randomness.");

static PyObject *
mask_key(PyObject *module, PyObject *Py_UNUSED(none))
{
    unsigned char key[4];

    return take_key(module, key) ? PyBytes_FromStringAndSize((char *)key, 4) : NULL;
}

/* Have forget_keys() called in each forked child, where processes fork. */
static int
watch_for_forks(PyObject *module, PyObject *os)
{
    PyObject *watch = PyObject_GetAttrString(os, "register_at_fork"), *forget, *arguments = NULL;
    PyObject *nothing = NULL, *result = NULL;

    if (watch == NULL) {
        if (!PyErr_ExceptionMatches(PyExc_AttributeError)) {
            return -1;
        }
        PyErr_Clear();
        return 0;
    }
    forget = PyObject_GetAttrString(module, "forget_keys");
    if (forget != NULL) {
        arguments = Py_BuildValue("{sO}", "after_in_child", forget);
        nothing = PyTuple_New(0);
    }
    if (arguments != NULL && nothing != NULL) {
        result = PyObject_Call(watch, nothing, arguments);
    }
    Py_XDECREF(forget);
    Py_XDECREF(arguments);
    Py_XDECREF(nothing);
    Py_DECREF(watch);
    Py_XDECREF(result);
    return result == NULL ? -1 : 0;
}

int
prepare_keys(PyObject *module)
{
    module_state *state = PyModule_GetState(module);
    PyObject *os = PyImport_ImportModule("os");
    int watching;

    if (os == NULL) {
        return -1;
    }
    state->left = 0;
    state->urandom = PyObject_GetAttrString(os, "urandom");
    watching = state->urandom == NULL ? -1 : watch_for_forks(module, os);
    Py_DECREF(os);
    return watching;
}

PyMethodDef key_functions[] = {
    {"mask_key", mask_key, METH_NOARGS, mask_key_doc},
    {"forget_keys", forget_keys, METH_NOARGS, forget_keys_doc},
    {NULL, NULL, 0, NULL},
};
