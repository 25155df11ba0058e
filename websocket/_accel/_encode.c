/* Masking and encoding frames (RFC 6455 sections 5.2 and 5.3). */

#include "_c.h"

#define MAX_HEAD 14 /* of a masked frame: two bytes, eight of length, four of key */

/* XOR src into dst with the repeated key. Whole words in a plain loop: compilers turn it into
 * the widest vectors that the target has. */
static void
xor_mask(unsigned char *dst, const unsigned char *src, Py_ssize_t size, const unsigned char *key)
{
    uint32_t half;
    uint64_t word, block[4];
    Py_ssize_t i = 0;

    memcpy(&half, key, 4);
    word = ((uint64_t)half << 32) | half;
    for (; i + (Py_ssize_t)sizeof block <= size; i += (Py_ssize_t)sizeof block) {
        memcpy(block, src + i, sizeof block);
        block[0] ^= word;
        block[1] ^= word;
        block[2] ^= word;
        block[3] ^= word;
        memcpy(dst + i, block, sizeof block);
    }
    for (; i + 8 <= size; i += 8) {
        memcpy(block, src + i, 8);
        block[0] ^= word;
        memcpy(dst + i, block, 8);
    }
    for (; i < size; i++) {
        dst[i] = src[i] ^ key[i & 3];
    }
}

static int
get_key(PyObject *object, const unsigned char **key)
{
    if (!PyBytes_Check(object) || PyBytes_GET_SIZE(object) != 4) {
        PyErr_SetString(PyExc_ValueError, "a mask key is four bytes");
        return 0;
    }
    *key = (const unsigned char *)PyBytes_AS_STRING(object);
    return 1;
}

PyDoc_STRVAR(mask_doc,
"mask($module, key, data, /)\n--\n\n"
"XOR data with the repeated four byte key.");

static PyObject *
mask(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t nargs)
{
    const unsigned char *key;
    Py_buffer data;
    PyObject *result;

    if (!check_arguments("mask", nargs, 2) || !get_key(args[0], &key)) {
        return NULL;
    }
    if (PyObject_GetBuffer(args[1], &data, PyBUF_SIMPLE) < 0) {
        return NULL;
    }
    result = PyBytes_FromStringAndSize(NULL, data.len);
    if (result != NULL) {
        xor_mask((unsigned char *)PyBytes_AS_STRING(result), data.buf, data.len, key);
    }
    PyBuffer_Release(&data);
    return result;
}

/* Write a frame at p, which has room for MAX_HEAD + size bytes; its size. */
static Py_ssize_t
put_frame(unsigned char *p, unsigned char first, const void *payload, Py_ssize_t size,
          const unsigned char *key)
{
    unsigned char mask_bit = key == NULL ? 0 : MASKED, *begin = p;
    Py_ssize_t length_size = size < 126 ? 0 : size < 65536 ? 2 : 8, i;

    *p++ = first;
    if (length_size == 0) {
        *p++ = mask_bit | (unsigned char)size;
    }
    else {
        *p++ = mask_bit | (length_size == 2 ? 126 : 127);
        for (i = length_size - 1; i >= 0; i--) {
            *p++ = (unsigned char)((uint64_t)size >> (8 * i));
        }
    }
    if (key != NULL) {
        memcpy(p, key, 4);
        p += 4;
        xor_mask(p, payload, size, key);
    }
    else if (size > 0) { /* an empty buffer may have no address */
        memcpy(p, payload, size);
    }
    return p + size - begin;
}

static PyObject *
build_frame(unsigned char first, const void *payload, Py_ssize_t size, const unsigned char *key)
{
    Py_ssize_t head = (size < 126 ? 2 : size < 65536 ? 4 : 10) + (key == NULL ? 0 : 4);
    PyObject *frame;

    if (size > PY_SSIZE_T_MAX - head) {
        return PyErr_NoMemory();
    }
    frame = PyBytes_FromStringAndSize(NULL, head + size);
    if (frame != NULL) {
        put_frame((unsigned char *)PyBytes_AS_STRING(frame), first, payload, size, key);
    }
    return frame;
}

/* A payload's bytes, wherever they are. */
typedef struct {
    const void *data;
    Py_ssize_t size;
    PyObject *encoded; /* what is to be released, if anything */
    Py_buffer buffer;
    int has_buffer;
} payload_view;

static int
view_payload(PyObject *payload, payload_view *view)
{
    view->encoded = NULL;
    view->has_buffer = 0;
    if (PyUnicode_Check(payload)) {
        if (PyUnicode_IS_ASCII(payload)) {
            view->data = PyUnicode_1BYTE_DATA(payload);
            view->size = PyUnicode_GET_LENGTH(payload);
            return 1;
        }
        /* Not PyUnicode_AsUTF8AndSize: it would keep its copy as long as the str lives. */
        payload = view->encoded = PyUnicode_AsUTF8String(payload);
        if (payload == NULL) {
            return 0;
        }
    }
    if (PyBytes_CheckExact(payload)) {
        view->data = PyBytes_AS_STRING(payload);
        view->size = PyBytes_GET_SIZE(payload);
        return 1;
    }
    if (PyObject_GetBuffer(payload, &view->buffer, PyBUF_SIMPLE) < 0) {
        return 0;
    }
    view->has_buffer = 1;
    view->data = view->buffer.buf;
    view->size = view->buffer.len;
    return 1;
}

static void
release_payload(payload_view *view)
{
    Py_XDECREF(view->encoded);
    if (view->has_buffer) {
        PyBuffer_Release(&view->buffer);
    }
}

static PyObject *
frame_of(PyObject *first_byte, PyObject *payload, const unsigned char *key)
{
    payload_view view;
    PyObject *frame;
    long first = PyLong_AsLong(first_byte);

    if (first == -1 && PyErr_Occurred()) {
        return NULL;
    }
    if (first < 0 || first > 255) {
        PyErr_SetString(PyExc_ValueError, "the first byte of a frame is in range(256)");
        return NULL;
    }
    if (!view_payload(payload, &view)) {
        return NULL;
    }
    frame = build_frame((unsigned char)first, view.data, view.size, key);
    release_payload(&view);
    return frame;
}

PyDoc_STRVAR(encode_frame_doc,
"encode_frame($module, first, payload, key, /)\n--\n\n"
"Header, mask key and masked payload in one object.");

static PyObject *
encode_frame(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t nargs)
{
    const unsigned char *key = NULL;

    if (!check_arguments("encode_frame", nargs, 3) ||
        (args[2] != Py_None && !get_key(args[2], &key))) {
        return NULL;
    }
    return frame_of(args[0], args[1], key);
}

PyDoc_STRVAR(encode_masked_doc,
"encode_masked($module, first, payload, /)\n--\n\n"
"encode_frame() with a fresh mask key.");

static PyObject *
encode_masked(PyObject *module, PyObject *const *args, Py_ssize_t nargs)
{
    unsigned char key[4];

    if (!check_arguments("encode_masked", nargs, 2) || !take_key(module, key)) {
        return NULL;
    }
    return frame_of(args[0], args[1], key);
}

/* The masked frame of a str or bytes, neither a subclass nor longer than most. NULL for anything
 * else, and with an exception where the text can't be encoded or there is no memory. */
PyObject *
encode_message(PyObject *module, PyObject *message, Py_ssize_t most)
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

/* The exception that is set, as an object; none is set afterwards. */
PyObject *
take_exception(void)
{
#if PY_VERSION_HEX >= 0x030C0000
    return PyErr_GetRaisedException();
#else
    PyObject *type, *value, *traceback;

    PyErr_Fetch(&type, &value, &traceback);
    PyErr_NormalizeException(&type, &value, &traceback);
    if (traceback != NULL) {
        PyException_SetTraceback(value, traceback);
    }
    Py_XDECREF(type);
    Py_XDECREF(traceback);
    return value;
#endif
}

/* Append the frame of one message to *frames, which grows as needed. */
static int
append_message(PyObject *module, PyObject *message, PyObject *convert, PyObject **frames,
               Py_ssize_t *used)
{
    unsigned char key[4];
    payload_view view;
    PyObject *converted = NULL;
    Py_ssize_t capacity;
    unsigned char first = PyUnicode_Check(message) ? FINAL_TEXT : FINAL_BINARY;
    int done = 0;

    if (!PyUnicode_Check(message) && !PyBytes_CheckExact(message)) {
        message = converted = PyObject_CallOneArg(convert, message);
        if (message == NULL) {
            return 0;
        }
    }
    if (view_payload(message, &view)) {
        capacity = PyBytes_GET_SIZE(*frames);
        if (view.size > PY_SSIZE_T_MAX / 2 - *used - MAX_HEAD) {
            PyErr_NoMemory();
        }
        else if (capacity - *used >= view.size + MAX_HEAD ||
                 _PyBytes_Resize(frames, *used * 2 + view.size + MAX_HEAD) == 0) {
            if (take_key(module, key)) {
                *used += put_frame((unsigned char *)PyBytes_AS_STRING(*frames) + *used, first,
                                   view.data, view.size, key);
                done = 1;
            }
        }
        release_payload(&view);
    }
    Py_XDECREF(converted);
    return done;
}

PyDoc_STRVAR(encode_batch_doc,
"encode_batch($module, messages, limit, convert, /)\n--\n\n"
"Frames of messages from an iterator, their number, and what ended the iteration early.");

static PyObject *
encode_batch(PyObject *module, PyObject *const *args, Py_ssize_t nargs)
{
    PyObject *messages, *convert, *message, *frames, *error = NULL;
    Py_ssize_t limit, count = 0, used = 0;

    if (!check_arguments("encode_batch", nargs, 3)) {
        return NULL;
    }
    messages = args[0];
    convert = args[2];
    limit = PyLong_AsSsize_t(args[1]);
    if (limit == -1 && PyErr_Occurred()) {
        return NULL;
    }
    if (!PyIter_Check(messages) || limit < 0 || limit > PY_SSIZE_T_MAX / 4) {
        PyErr_SetString(PyExc_ValueError, "encode_batch() needs an iterator and a limit from 0 on");
        return NULL;
    }
    frames = PyBytes_FromStringAndSize(NULL, limit + 4096);
    if (frames == NULL) {
        return NULL;
    }
    do {
        message = PyIter_Next(messages);
        if (message == NULL) {
            break;
        }
        count += append_message(module, message, convert, &frames, &used);
        Py_DECREF(message);
    } while (used < limit && !PyErr_Occurred());
    if (PyErr_Occurred()) {
        if (frames == NULL) { /* no memory: what was in there is lost as well */
            return NULL;
        }
        error = take_exception();
    }
    if (_PyBytes_Resize(&frames, used) < 0) {
        Py_XDECREF(error);
        return NULL;
    }
    if (error == NULL) {
        error = Py_NewRef(Py_None);
    }
    return Py_BuildValue("(NnN)", frames, count, error);
}

PyMethodDef encode_functions[] = {
    {"mask", (PyCFunction)(void (*)(void))mask, METH_FASTCALL, mask_doc},
    {"encode_frame", (PyCFunction)(void (*)(void))encode_frame, METH_FASTCALL, encode_frame_doc},
    {"encode_masked", (PyCFunction)(void (*)(void))encode_masked, METH_FASTCALL,
     encode_masked_doc},
    {"encode_batch", (PyCFunction)(void (*)(void))encode_batch, METH_FASTCALL, encode_batch_doc},
    {NULL, NULL, 0, NULL},
};
