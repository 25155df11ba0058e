/* Between a socket that never waits and the frames: one call where Python takes several.
 *
 * The lock is kept, as for anything else that takes no longer than copying some memory. */

#include "_c.h"

#ifdef _WIN32

/* There the event loop does not tell when to read, but reads itself. */
PyMethodDef socket_functions[] = {{NULL, NULL, 0, NULL}};

#else

#include <errno.h>
#include <sys/socket.h>

#ifdef MSG_NOSIGNAL
#define SEND_FLAGS MSG_NOSIGNAL
#else
#define SEND_FLAGS 0
#endif

PyDoc_STRVAR(receive_messages_doc,
"receive_messages($module, fd, data, limit, /)\n--\n\n"
"Receive into data, and scan() what has come.");

static PyObject *
receive_messages(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t nargs)
{
    Py_buffer data;
    Py_ssize_t limit, count, start = 0;
    PyObject *messages;
    int fd, done;

    if (!check_arguments("receive_messages", nargs, 3)) {
        return NULL;
    }
    fd = PyObject_AsFileDescriptor(args[0]);
    limit = PyLong_AsSsize_t(args[2]);
    if (fd < 0 || PyErr_Occurred() || PyObject_GetBuffer(args[1], &data, PyBUF_WRITABLE) < 0) {
        return NULL;
    }
    count = recv(fd, data.buf, data.len, 0);
    if (count < 0) {
        PyBuffer_Release(&data);
        return PyErr_SetFromErrno(PyExc_OSError);
    }
    messages = PyList_New(0);
    done = messages != NULL && append_messages(messages, data.buf, &start, count, limit);
    PyBuffer_Release(&data);
    if (!done) {
        Py_XDECREF(messages);
        return NULL;
    }
    return Py_BuildValue("(nnN)", count, start, messages);
}

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

#define FUNCTION(name) {#name, (PyCFunction)(void (*)(void))name, METH_FASTCALL, name##_doc}

PyMethodDef socket_functions[] = {
    FUNCTION(receive_messages),
    FUNCTION(send_bytes),
    {NULL, NULL, 0, NULL},
};

#endif
