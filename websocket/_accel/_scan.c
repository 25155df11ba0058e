/* Finding the messages in what was received (RFC 6455 section 5.2, RFC 7692 section 7.2.2). */

#include "_c.h"

#define DEFLATED_TEXT 0xC1
#define DEFLATED_BINARY 0xC2
#define MOST_DEFLATED 8192

/* The frame at p, if it is plain and whole: its payload in *body and *size, the bytes that it
 * takes as the result. 0 for anything else. */
static Py_ssize_t
plain_frame(const unsigned char *p, Py_ssize_t have, Py_ssize_t limit,
            const unsigned char **body, Py_ssize_t *size)
{
    uint64_t length;
    Py_ssize_t head = 2;
    int i;

    if (have < 2 || (p[0] != FINAL_TEXT && p[0] != FINAL_BINARY)) {
        return 0;
    }
    length = p[1];
    if (length == 126) {
        head = 4;
        if (have < head) {
            return 0;
        }
        length = (uint64_t)p[2] << 8 | p[3];
        if (length < 126) {
            return 0;
        }
    }
    else if (length == 127) {
        head = 10;
        if (have < head) {
            return 0;
        }
        length = 0;
        for (i = 2; i < 10; i++) {
            length = length << 8 | p[i];
        }
        if (length < 65536) {
            return 0;
        }
    }
    else if (length > 127) {
        return 0;
    }
    if (length > (uint64_t)(have - head) || length > (uint64_t)limit) {
        return 0;
    }
    *body = p + head;
    *size = (Py_ssize_t)length;
    return head + (Py_ssize_t)length;
}

/* The message of the frame at base[*start:end], if that is plain and whole; *start moves behind it.
 * NULL for anything else, with an exception only if there is no memory. */
PyObject *
next_message(const unsigned char *base, Py_ssize_t *start, Py_ssize_t end, Py_ssize_t limit)
{
    const unsigned char *body;
    Py_ssize_t taken, size;
    PyObject *message;

    taken = plain_frame(base + *start, end - *start, limit, &body, &size);
    if (taken == 0) {
        return NULL;
    }
    if (base[*start] == FINAL_TEXT) {
        message = PyUnicode_DecodeUTF8((const char *)body, size, "strict");
        if (message == NULL && PyErr_ExceptionMatches(PyExc_UnicodeDecodeError)) {
            /* Whoever knows the errors looks at this frame again. */
            PyErr_Clear();
        }
    }
    else {
        message = PyBytes_FromStringAndSize((const char *)body, size);
    }
    if (message != NULL) {
        *start += taken;
    }
    return message;
}

/* Append the messages of all whole, plain frames at the front of base[*start:end], and move
 * *start behind them; whether that succeeded. */
int
append_messages(PyObject *messages, const unsigned char *base, Py_ssize_t *start, Py_ssize_t end,
                Py_ssize_t limit)
{
    PyObject *message;
    int appended;

    while ((message = next_message(base, start, end, limit)) != NULL) {
        appended = PyList_Append(messages, message);
        Py_DECREF(message);
        if (appended < 0) {
            return 0;
        }
    }
    return !PyErr_Occurred();
}

PyDoc_STRVAR(scan_doc,
"scan($module, data, start, end, limit, /)\n--\n\n"
"The messages of all whole, plain frames at the front of data[start:end], and where they end.");

static PyObject *
scan(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t nargs)
{
    Py_buffer data;
    Py_ssize_t start, end, limit;
    PyObject *messages = NULL;
    int done = 0;

    if (!check_arguments("scan", nargs, 4)) {
        return NULL;
    }
    start = PyLong_AsSsize_t(args[1]);
    end = PyLong_AsSsize_t(args[2]);
    limit = PyLong_AsSsize_t(args[3]);
    if (PyErr_Occurred() || PyObject_GetBuffer(args[0], &data, PyBUF_SIMPLE) < 0) {
        return NULL;
    }
    if (start < 0 || end < start || end > data.len || limit < 0) {
        PyErr_SetString(PyExc_ValueError, "scan() needs 0 <= start <= end <= len(data), 0 <= limit");
    }
    else {
        messages = PyList_New(0);
        done = messages != NULL && append_messages(messages, data.buf, &start, end, limit);
    }
    PyBuffer_Release(&data);
    if (!done) {
        Py_XDECREF(messages);
        return NULL;
    }
    return Py_BuildValue("(nN)", start, messages);
}

/* The frame at p, if it is a whole message that was compressed, is here to its end and is no
 * more than usual: as plain_frame(). */
static Py_ssize_t
deflated_frame(const unsigned char *p, Py_ssize_t have, const unsigned char **body,
               Py_ssize_t *size)
{
    Py_ssize_t head = 2;

    if (have < 4 || (p[0] != DEFLATED_TEXT && p[0] != DEFLATED_BINARY)) {
        return 0;
    }
    *size = p[1];
    if (*size == 126) {
        head = 4;
        *size = (Py_ssize_t)p[2] << 8 | p[3];
        if (*size < 126) {
            return 0;
        }
    }
    else if (*size > 126) {
        return 0;
    }
    *body = p + head;
    if (*size == 0 || *size > MOST_DEFLATED || *size > have - head || (*body)[*size - 1] > 0x1F) {
        return 0;
    }
    return head + *size;
}

/* What a payload and the tail that its sender left away come to, or the beginning of it. */
static PyObject *
inflate(PyObject *decompress, const unsigned char *body, Py_ssize_t size, PyObject *most)
{
    static const unsigned char tail[4] = {0, 0, 0xFF, 0xFF};
    PyObject *payload = PyBytes_FromStringAndSize(NULL, size + 4), *args[2], *message;

    if (payload == NULL) {
        return NULL;
    }
    memcpy(PyBytes_AS_STRING(payload), body, size);
    memcpy(PyBytes_AS_STRING(payload) + size, tail, 4);
    args[0] = payload;
    args[1] = most;
    message = PyObject_Vectorcall(decompress, args, 2, NULL);
    Py_DECREF(payload);
    if (message != NULL && !PyBytes_CheckExact(message)) {
        PyErr_SetString(PyExc_TypeError, "decompress() returned no bytes");
        Py_CLEAR(message);
    }
    return message;
}

/* Append a message; whether that succeeded. */
static int
hand_over(PyObject *append, PyObject *message, int text, const char *errors)
{
    PyObject *decoded = NULL, *result = NULL;

    if (!text) {
        result = PyObject_CallOneArg(append, message);
    }
    else {
        decoded = PyUnicode_DecodeUTF8(PyBytes_AS_STRING(message), PyBytes_GET_SIZE(message), errors);
        if (decoded != NULL) {
            result = PyObject_CallOneArg(append, decoded);
            Py_DECREF(decoded);
        }
    }
    Py_XDECREF(result);
    return result != NULL;
}

/* Whether the compressed stream came to an end of its own; -1 for an exception. */
static int
has_ended(PyObject *stream, PyObject *name)
{
    PyObject *eof = PyObject_GetAttr(stream, name);
    int ended = eof == NULL ? -1 : PyObject_IsTrue(eof);

    Py_XDECREF(eof);
    return ended;
}

PyDoc_STRVAR(scan_deflated_doc,
"scan_deflated($module, data, start, end, stream, most, errors, append, /)\n--\n\n"
"Append the messages of the usual compressed frames at the front of data[start:end].");

static PyObject *
scan_deflated(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t nargs)
{
    Py_buffer data;
    Py_ssize_t start, end, most, taken, size, size_in = 0, size_out = 0;
    const unsigned char *base, *body;
    const char *errors;
    int first = 0, ended;
    PyObject *decompress = NULL, *eof, *message = NULL;

    if (!check_arguments("scan_deflated", nargs, 7)) {
        return NULL;
    }
    start = PyLong_AsSsize_t(args[1]);
    end = PyLong_AsSsize_t(args[2]);
    most = PyLong_AsSsize_t(args[4]);
    errors = PyUnicode_AsUTF8(args[5]);
    if (PyErr_Occurred() || PyObject_GetBuffer(args[0], &data, PyBUF_SIMPLE) < 0) {
        return NULL;
    }
    eof = PyUnicode_InternFromString("eof");
    if (eof == NULL || (decompress = PyObject_GetAttrString(args[3], "decompress")) == NULL) {
        goto fail;
    }
    if (start < 0 || end < start || end > data.len || most < 1) {
        PyErr_SetString(PyExc_ValueError,
                        "scan_deflated() needs 0 <= start <= end <= len(data), 1 <= most");
        goto fail;
    }
    base = data.buf;
    while ((taken = deflated_frame(base + start, end - start, &body, &size)) != 0) {
        first = base[start];
        message = inflate(decompress, body, size, args[4]);
        ended = message == NULL ? -1 : has_ended(args[3], eof);
        if (ended < 0) {
            goto fail;
        }
        start += taken;
        size_in += size;
        size_out += PyBytes_GET_SIZE(message);
        if (ended || PyBytes_GET_SIZE(message) >= most) {
            break;
        }
        if (!hand_over(args[6], message, first == DEFLATED_TEXT, errors)) {
            goto fail;
        }
        Py_CLEAR(message);
    }
    Py_DECREF(eof);
    Py_DECREF(decompress);
    PyBuffer_Release(&data);
    if (message == NULL) {
        return Py_BuildValue("(niOnn)", start, 0, Py_None, size_in, size_out);
    }
    return Py_BuildValue("(niNnn)", start, first, message, size_in, size_out);

fail:
    PyBuffer_Release(&data);
    Py_XDECREF(eof);
    Py_XDECREF(decompress);
    Py_XDECREF(message);
    return NULL;
}

PyMethodDef scan_functions[] = {
    {"scan", (PyCFunction)(void (*)(void))scan, METH_FASTCALL, scan_doc},
    {"scan_deflated", (PyCFunction)(void (*)(void))scan_deflated, METH_FASTCALL,
     scan_deflated_doc},
    {NULL, NULL, 0, NULL},
};
