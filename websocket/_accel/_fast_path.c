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
fail(fast_path *self, PyObject *messages, Py_ssize_t next)
{
    PyObject *error = take_exception(), *rest, *result = NULL;
    PyObject *failed = Py_XNewRef(self->failed);

    rest = PyList_GetSlice(messages, next, PyList_GET_SIZE(messages));
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

/* Hand the messages over, one by one; the references that the callbacks may drop are held. */
static PyObject *
hand_over(fast_path *self, PyObject *messages, Py_ssize_t count)
{
    PyObject *sink = Py_NewRef(self->sink), *method = Py_NewRef(self->method), *result = Py_None;
    Py_ssize_t i, size = PyList_GET_SIZE(messages);

    for (i = 0; i < size && result != NULL; i++) {
        result = PyObject_CallMethodOneArg(sink, method, PyList_GET_ITEM(messages, i));
        Py_XDECREF(result);
    }
    Py_DECREF(sink);
    Py_DECREF(method);
    if (result == NULL) {
        return fail(self, messages, i);
    }
    if (self->delivered != NULL && self->delivered != Py_None) {
        PyObject *delivered = Py_NewRef(self->delivered), *size_read = PyLong_FromSsize_t(count);

        result = size_read == NULL ? NULL : PyObject_CallOneArg(delivered, size_read);
        Py_XDECREF(size_read);
        Py_DECREF(delivered);
        return finished(result);
    }
    Py_RETURN_NONE;
}

static PyObject *
receive(fast_path *self)
{
    Py_buffer room;
    PyObject *messages, *result;
    Py_ssize_t count, space, start = 0;
    int done;

    if (PyObject_GetBuffer(self->room, &room, PyBUF_WRITABLE) < 0) {
        return NULL;
    }
    count = recv(self->fd, room.buf, room.len, 0);
    if (count < 0) {
        PyBuffer_Release(&room);
        if (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR) {
            Py_RETURN_NONE;
        }
        return leave_to_others(self, take_os_error());
    }
    messages = PyList_New(0);
    done = messages != NULL && append_messages(messages, room.buf, &start, count, self->limit);
    space = room.len;
    PyBuffer_Release(&room);
    if (!done) {
        Py_XDECREF(messages);
        return NULL;
    }
    if (start != count || count == space || count == 0 || self->sink == NULL) {
        return leave_to_others(self, Py_BuildValue("(nnN)", count, start, messages));
    }
    note_received(self, count, PyList_GET_SIZE(messages));
    result = hand_over(self, messages, count);
    Py_DECREF(messages);
    return result;
}

static PyObject *
fast_path_call(PyObject *object, PyObject *Py_UNUSED(args), PyObject *Py_UNUSED(kwargs))
{
    fast_path *self = (fast_path *)object;
    PyObject *result;

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

static PyObject *
frame_for(PyObject *module, PyObject *message, Py_ssize_t most)
{
    unsigned char key[4], first;
    payload_view view;
    PyObject *frame = NULL;

    if (PyUnicode_CheckExact(message) && PyUnicode_GET_LENGTH(message) <= most) {
        first = FINAL_TEXT;
    }
    else if (PyBytes_CheckExact(message) && PyBytes_GET_SIZE(message) <= most) {
        first = FINAL_BINARY;
    }
    else {
        return NULL;
    }
    if (view_payload(message, &view)) {
        if (take_key(module, key)) {
            frame = build_frame(first, view.data, view.size, key);
        }
        release_payload(&view);
    }
    return frame;
}

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
    frame = frame_for(PyType_GetModule(Py_TYPE(object)), message, self->most);
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
    if (sent < 0 && errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR) {
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
    {Py_tp_call, fast_path_call},
    {Py_tp_methods, fast_path_methods},
    {Py_tp_members, fast_path_members},
    {0, NULL},
};

static PyType_Spec fast_path_spec = {
    .name = "websocket._accel._c.FastPath",
    .basicsize = sizeof(fast_path),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC,
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
