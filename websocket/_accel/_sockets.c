/* Sending to a socket that never waits.
 *
 * The lock is kept, as for anything else that takes no longer than copying some memory. */

#include "_c.h"

#ifdef _WIN32

/* There the event loop does not tell when to read, but reads itself. */
PyMethodDef socket_functions[] = {{NULL, NULL, 0, NULL}};

#else

#include <errno.h>
#include <sys/socket.h>

PyDoc_STRVAR(send_bytes_doc,
"send_bytes($module, fd, data, /)\n--\n\n"
"Send as much of data as there is room for, and tell how much that was.");

static PyObject *
send_bytes(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t nargs)
{
    Py_buffer data;
    Py_ssize_t sent;
    int fd;

    if (!check_arguments("send_bytes", nargs, 2)) {
        return NULL;
    }
    fd = PyObject_AsFileDescriptor(args[0]);
    if (fd < 0 || PyObject_GetBuffer(args[1], &data, PyBUF_SIMPLE) < 0) {
        return NULL;
    }
    sent = send(fd, data.buf, data.len, SEND_FLAGS);
    PyBuffer_Release(&data);
    return sent < 0 ? PyErr_SetFromErrno(PyExc_OSError) : PyLong_FromSsize_t(sent);
}

PyMethodDef socket_functions[] = {
    {"send_bytes", (PyCFunction)(void (*)(void))send_bytes, METH_FASTCALL, send_bytes_doc},
    {NULL, NULL, 0, NULL},
};

#endif
