/* Whole messages between a socket and a program, see aio/_fast_path.py.
 *
 * The lock is kept, as for anything else that takes no longer than copying some memory. */

#include "_c.h"

#ifdef _WIN32

int
prepare_fast_path(PyObject *Py_UNUSED(module))
{
    return 0;
}

#else

#include <errno.h>
#include <structmember.h>
#include <sys/socket.h>
#include <time.h>

typedef struct {
    PyObject_HEAD
    vectorcallfunc vectorcall; /* calls it without a tuple for arguments */
    int fd;
    char sends;
    PyObject *unusual, *unsent;
    PyObject *room, *sink, *method, *delivered, *failed;
    Py_ssize_t limit, most;
    long long bytes_received, messages_received, bytes_sent, messages_sent;
    double received_at;
} fast_path;

static int
fast_path_traverse(PyObject *object, visitproc visit, void *arg)
{
    fast_path *self = (fast_path *)object;

    Py_VISIT(Py_TYPE(object));
    Py_VISIT(self->unusual);
    Py_VISIT(self->unsent);
    Py_VISIT(self->room);
    Py_VISIT(self->sink);
    Py_VISIT(self->method);
    Py_VISIT(self->delivered);
    Py_VISIT(self->failed);
    return 0;
}

static int
fast_path_clear(PyObject *object)
{
    fast_path *self = (fast_path *)object;

    Py_CLEAR(self->unusual);
    Py_CLEAR(self->unsent);
    Py_CLEAR(self->room);
    Py_CLEAR(self->sink);
    Py_CLEAR(self->method);
    Py_CLEAR(self->delivered);
    Py_CLEAR(self->failed);
    return 0;
}

static void
fast_path_dealloc(PyObject *object)
{
    PyTypeObject *type = Py_TYPE(object);

    PyObject_GC_UnTrack(object);
    fast_path_clear(object);
    type->tp_free(object);
    Py_DECREF(type);
}

static PyObject *fast_path_call(PyObject *object, PyObject *const *args, size_t nargsf,
                                PyObject *kwnames);

static PyObject *
fast_path_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    PyObject *unusual, *unsent;
    fast_path *self;
    int fd;

    if (kwargs != NULL && PyDict_GET_SIZE(kwargs) != 0) {
        PyErr_SetString(PyExc_TypeError, "FastPath() takes no keyword arguments");
        return NULL;
    }
    if (!PyArg_ParseTuple(args, "iOO", &fd, &unusual, &unsent)) {
        return NULL;
    }
    self = (fast_path *)type->tp_alloc(type, 0);
    if (self != NULL) {
        self->vectorcall = fast_path_call;
        self->fd = fd;
        self->unusual = Py_NewRef(unusual);
        self->unsent = Py_NewRef(unsent);
    }
    return (PyObject *)self;
}

/* Receiving */

/* What a callback returned is of no interest; NULL where it raised. */
static PyObject *
finished(PyObject *result)
{
    if (result == NULL) {
        return NULL;
    }
    Py_DECREF(result);
    Py_RETURN_NONE;
}

/* Let the unusual way have it; the reference to what is taken over. NULL where there is none. */
static PyObject *
leave_to_others(fast_path *self, PyObject *what)
{
    PyObject *unusual = self->unusual, *result;

    if (what == NULL) {
        return NULL;
    }
    if (unusual == NULL) { /* it has ended */
        Py_DECREF(what);
        Py_RETURN_NONE;
    }
    Py_INCREF(unusual);
    result = PyObject_CallOneArg(unusual, what);
    Py_DECREF(unusual);
    Py_DECREF(what);
    return finished(result);
}

/* Whether the last call would have had to wait, or is to be made again. */
static int
would_block(void)
{
    return errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR;
}

static PyObject *
take_os_error(void)
{
    PyErr_SetFromErrno(PyExc_OSError);
    return take_exception();
}

static void
note_received(fast_path *self, Py_ssize_t bytes, Py_ssize_t messages)
{
    struct timespec now;

    clock_gettime(CLOCK_REALTIME, &now);
    self->received_at = (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
    self->bytes_received += bytes;
    self->messages_received += messages;
}

/* A message could not be handed over: tell of it and of those that were to follow. */
static PyObject *
fail(fast_path *self, PyObject *others, Py_ssize_t next)
{
    PyObject *error = take_exception(), *failed = Py_XNewRef(self->failed), *result = NULL, *rest;

    rest = others == NULL ? PyList_New(0) : PyList_GetSlice(others, next, PyList_GET_SIZE(others));
    if (rest != NULL && failed != NULL && failed != Py_None) {
        result = PyObject_CallFunctionObjArgs(failed, error, rest, NULL);
    }
    else if (rest != NULL) {
        PyErr_SetObject((PyObject *)Py_TYPE(error), error);
    }
    Py_XDECREF(rest);
    Py_XDECREF(failed);
    Py_DECREF(error);
    return finished(result);
}

/* Hand over the first message, and those in the list, if there is one. The callbacks may drop
 * what they are called with, so references to it are held. */
static PyObject *
hand_over(fast_path *self, PyObject *first, PyObject *others, Py_ssize_t count)
{
    PyObject *sink = Py_NewRef(self->sink), *method = Py_NewRef(self->method), *result;
    Py_ssize_t next = 0, size = others == NULL ? 0 : PyList_GET_SIZE(others);

    result = PyObject_CallMethodOneArg(sink, method, first);
    while (result != NULL && next < size) {
        Py_DECREF(result);
        result = PyObject_CallMethodOneArg(sink, method, PyList_GET_ITEM(others, next++));
    }
    Py_DECREF(sink);
    Py_DECREF(method);
    if (result == NULL) {
        return fail(self, others, next);
    }
    Py_DECREF(result);
    if (self->delivered != NULL && self->delivered != Py_None) {
        PyObject *delivered = Py_NewRef(self->delivered), *size_read = PyLong_FromSsize_t(count);

        result = size_read == NULL ? NULL : PyObject_CallOneArg(delivered, size_read);
        Py_XDECREF(size_read);
        Py_DECREF(delivered);
        return finished(result);
    }
    Py_RETURN_NONE;
}

/* The messages at the front of what has come: the first, and a list of the others unless it is
 * all that there is. *start moves behind them; whether that succeeded. */
static int
find_messages(const unsigned char *base, Py_ssize_t *start, Py_ssize_t count, Py_ssize_t limit,
              PyObject **first, PyObject **others)
{
    *others = NULL;
    *first = next_message(base, start, count, limit);
    if (*first == NULL) {
        return !PyErr_Occurred();
    }
    if (*start == count) {
        return 1;
    }
    *others = PyList_New(0);
    return *others != NULL && append_messages(*others, base, start, count, limit);
}

/* As the unusual way wants it. */
static PyObject *
what_has_come(Py_ssize_t count, Py_ssize_t start, PyObject *first, PyObject *others)
{
    PyObject *messages = PyList_New(0);
    int done = messages != NULL && (first == NULL || PyList_Append(messages, first) == 0) &&
               (others == NULL || PyList_SetSlice(messages, 1, 1, others) == 0);

    if (!done) {
        Py_XDECREF(messages);
        return NULL;
    }
    return Py_BuildValue("(nnN)", count, start, messages);
}

static PyObject *
receive(fast_path *self)
{
    Py_buffer room;
    PyObject *first, *others, *result;
    Py_ssize_t count, space, start = 0;
    int done;

    if (PyObject_GetBuffer(self->room, &room, PyBUF_WRITABLE) < 0) {
        return NULL;
    }
    space = room.len;
    count = recv(self->fd, room.buf, space, 0);
    if (count < 0) {
        result = would_block() ? NULL : take_os_error();
        PyBuffer_Release(&room);
        return result == NULL ? Py_NewRef(Py_None) : leave_to_others(self, result);
    }
    done = find_messages(room.buf, &start, count, self->limit, &first, &others);
    PyBuffer_Release(&room);
    if (!done) {
        result = NULL;
    }
    else if (start != count || count == space || first == NULL || self->sink == NULL) {
        result = leave_to_others(self, what_has_come(count, start, first, others));
    }
    else {
        note_received(self, count, others == NULL ? 1 : 1 + PyList_GET_SIZE(others));
        result = hand_over(self, first, others, count);
    }
    Py_XDECREF(first);
    Py_XDECREF(others);
    return result;
}

static PyObject *
fast_path_call(PyObject *object, PyObject *const *Py_UNUSED(args), size_t nargsf,
               PyObject *kwnames)
{
    fast_path *self = (fast_path *)object;
    PyObject *result;

    if (!check_arguments("FastPath", PyVectorcall_NARGS(nargsf), 0) ||
        !check_arguments("FastPath", kwnames == NULL ? 0 : PyTuple_GET_SIZE(kwnames), 0)) {
        return NULL;
    }
    if (self->room == NULL || self->room == Py_None || self->sink == NULL) {
        return leave_to_others(self, Py_NewRef(Py_None));
    }
    /* The event loop's reference may go while it is called. */
    Py_INCREF(object);
    result = receive(self);
    if (result == NULL) {
        result = leave_to_others(self, take_exception());
    }
    Py_DECREF(object);
    return result;
}

/* Sending */

/* The rest of a frame, or all of it, has to go another way. */
static PyObject *
leave_unsent(fast_path *self, PyObject *frame, Py_ssize_t sent, PyObject *error)
{
    PyObject *unsent = Py_XNewRef(self->unsent), *rest, *result = NULL;

    rest = PyBytes_FromStringAndSize(PyBytes_AS_STRING(frame) + sent,
                                     PyBytes_GET_SIZE(frame) - sent);
    if (rest != NULL && unsent != NULL) {
        result = PyObject_CallFunctionObjArgs(unsent, rest, error, NULL);
    }
    Py_XDECREF(rest);
    Py_XDECREF(unsent);
    if (result == NULL) {
        return NULL;
    }
    Py_DECREF(result);
    Py_RETURN_TRUE;
}

PyDoc_STRVAR(fast_path_send_doc,
"send($self, message, /)\n--\n\n"
"Send a message if that is usual; whether it was.");

static PyObject *
fast_path_send(PyObject *object, PyObject *message)
{
    fast_path *self = (fast_path *)object;
    PyObject *frame, *result, *error;
    Py_ssize_t sent, size;

    if (!self->sends) {
        Py_RETURN_FALSE;
    }
    frame = encode_message(PyType_GetModule(Py_TYPE(object)), message, self->most);
    if (frame == NULL) {
        if (PyErr_Occurred() && !PyErr_ExceptionMatches(PyExc_UnicodeEncodeError)) {
            return NULL;
        }
        /* Whoever knows the errors looks at this message again. */
        PyErr_Clear();
        Py_RETURN_FALSE;
    }
    size = PyBytes_GET_SIZE(frame);
    sent = send(self->fd, PyBytes_AS_STRING(frame), size, SEND_FLAGS);
    self->bytes_sent += size;
    self->messages_sent += 1;
    if (sent == size) {
        Py_DECREF(frame);
        Py_RETURN_TRUE;
    }
    error = Py_None;
    if (sent < 0 && !would_block()) {
        error = take_os_error();
    }
    result = leave_unsent(self, frame, sent < 0 ? 0 : sent, error);
    if (error != Py_None) {
        Py_DECREF(error);
    }
    Py_DECREF(frame);
    return result;
}

/* The type */

PyDoc_STRVAR(fast_path_start_doc,
"start($self, sink, method, delivered, failed, limit, most, /)\n--\n\n"
"Hand messages over from now on.");

static PyObject *
fast_path_start(PyObject *object, PyObject *args)
{
    fast_path *self = (fast_path *)object;
    PyObject *sink, *method, *delivered, *failed;
    Py_ssize_t limit, most;

    if (!PyArg_ParseTuple(args, "OUOOnn", &sink, &method, &delivered, &failed, &limit, &most)) {
        return NULL;
    }
    if (limit < 0) {
        PyErr_SetString(PyExc_ValueError, "start() needs 0 <= limit");
        return NULL;
    }
    Py_INCREF(method);
    PyUnicode_InternInPlace(&method);
    Py_XSETREF(self->method, method);
    Py_XSETREF(self->sink, Py_NewRef(sink));
    Py_XSETREF(self->delivered, Py_NewRef(delivered));
    Py_XSETREF(self->failed, Py_NewRef(failed));
    self->limit = limit;
    self->most = most;
    Py_RETURN_NONE;
}

PyDoc_STRVAR(fast_path_end_doc,
"end($self, /)\n--\n\n"
"Hold nothing any more; what was counted stays.");

static PyObject *
fast_path_end(PyObject *object, PyObject *Py_UNUSED(none))
{
    ((fast_path *)object)->sends = 0;
    fast_path_clear(object);
    Py_RETURN_NONE;
}

static PyMethodDef fast_path_methods[] = {
    {"send", fast_path_send, METH_O, fast_path_send_doc},
    {"start", fast_path_start, METH_VARARGS, fast_path_start_doc},
    {"end", fast_path_end, METH_NOARGS, fast_path_end_doc},
    {NULL, NULL, 0, NULL},
};

static PyMemberDef fast_path_members[] = {
    {"__vectorcalloffset__", T_PYSSIZET, offsetof(fast_path, vectorcall), READONLY, NULL},
    {"room", T_OBJECT, offsetof(fast_path, room), 0, NULL},
    {"sends", T_BOOL, offsetof(fast_path, sends), 0, NULL},
    {"bytes_received", T_LONGLONG, offsetof(fast_path, bytes_received), 0, NULL},
    {"messages_received", T_LONGLONG, offsetof(fast_path, messages_received), 0, NULL},
    {"received_at", T_DOUBLE, offsetof(fast_path, received_at), 0, NULL},
    {"bytes_sent", T_LONGLONG, offsetof(fast_path, bytes_sent), 0, NULL},
    {"messages_sent", T_LONGLONG, offsetof(fast_path, messages_sent), 0, NULL},
    {NULL, 0, 0, 0, NULL},
};

static PyType_Slot fast_path_slots[] = {
    {Py_tp_doc, "Whole messages between a socket and a program, see aio/_fast_path.py."},
    {Py_tp_new, fast_path_new},
    {Py_tp_dealloc, fast_path_dealloc},
    {Py_tp_traverse, fast_path_traverse},
    {Py_tp_clear, fast_path_clear},
    {Py_tp_call, PyVectorcall_Call},
    {Py_tp_methods, fast_path_methods},
    {Py_tp_members, fast_path_members},
    {0, NULL},
};

static PyType_Spec fast_path_spec = {
    .name = "websocket._accel._c.FastPath",
    .basicsize = sizeof(fast_path),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_HAVE_VECTORCALL,
    .slots = fast_path_slots,
};

int
prepare_fast_path(PyObject *module)
{
    PyObject *type = PyType_FromModuleAndSpec(module, &fast_path_spec, NULL);
    int added;

    if (type == NULL) {
        return -1;
    }
    added = PyModule_AddType(module, (PyTypeObject *)type);
    Py_DECREF(type);
    return added;
}

#endif
