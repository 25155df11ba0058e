/* What the parts of the module share: _keys.c, _encode.c, _scan.c, _sockets.c
 * and _fast_path.c. */

#ifndef WEBSOCKET_ACCEL_H
#define WEBSOCKET_ACCEL_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <stdint.h>
#include <string.h>
#ifndef _WIN32
#include <sys/socket.h>
#endif

#define FINAL_TEXT 0x81
#define FINAL_BINARY 0x82
#define MASKED 0x80
#define POOL_SIZE 1024

/* A peer that has gone is an error, not a signal. */
#ifdef MSG_NOSIGNAL
#define SEND_FLAGS MSG_NOSIGNAL
#else
#define SEND_FLAGS 0
#endif

typedef struct {
    PyObject *urandom;
    Py_ssize_t left; /* bytes at the front of the pool that were not used yet */
    unsigned char pool[POOL_SIZE];
} module_state;

/* Whether a function got as many arguments as it wants; an exception is set if not. */
static inline int
check_arguments(const char *name, Py_ssize_t given, Py_ssize_t wanted)
{
    if (given == wanted) {
        return 1;
    }
    PyErr_Format(PyExc_TypeError, "%s() takes %zd arguments, not %zd", name, wanted, given);
    return 0;
}

int prepare_keys(PyObject *module);
int take_key(PyObject *module, unsigned char *key);
PyObject *encode_message(PyObject *module, PyObject *message, Py_ssize_t most);
PyObject *take_exception(void);
int prepare_fast_path(PyObject *module);
PyObject *next_message(const unsigned char *base, Py_ssize_t *start, Py_ssize_t end,
                       Py_ssize_t limit);
int append_messages(PyObject *messages, const unsigned char *base, Py_ssize_t *start,
                    Py_ssize_t end, Py_ssize_t limit);

/* Each file's functions, for the module's list. */
extern PyMethodDef key_functions[], encode_functions[], scan_functions[],
    socket_functions[];

#endif
