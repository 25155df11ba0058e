/* The hot functions in C: the twin of py.py, which says what they do and is what they are
 * tested against. RFC 6455 sections 5.2 and 5.3.
 *
 * The one thing that is kept is a pool of mask keys in the module's state, of which each
 * interpreter has its own. Without a GIL the module's critical section guards it. */

#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <stdint.h>
#include <string.h>

#define FINAL_TEXT 0x81
#define FINAL_BINARY 0x82
#define MASKED 0x80
#define POOL_SIZE 1024
#define MAX_HEAD 14 /* of a masked frame: two bytes, eight of length, four of key */

#ifndef Py_BEGIN_CRITICAL_SECTION /* before 3.13 there is always a GIL */
#define Py_BEGIN_CRITICAL_SECTION(object) {
#define Py_END_CRITICAL_SECTION() }
#endif

typedef struct {
    PyObject *urandom;
    Py_ssize_t left; /* bytes at the front of the pool that were not used yet */
    unsigned char pool[POOL_SIZE];
} module_state;

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

/* Four bytes of the operating system's randomness, used once (section 5.3: unpredictable). */
static int
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

static int
check_arguments(const char *name, Py_ssize_t given, Py_ssize_t wanted)
{
    if (given == wanted) {
        return 1;
    }
    PyErr_Format(PyExc_TypeError, "%s() takes %zd arguments, not %zd", name, wanted, given);
    return 0;
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

PyDoc_STRVAR(mask_key_doc,
"mask_key($module, /)\n--\n\n"
"Four bytes of the operating system's randomness.");

static PyObject *
mask_key(PyObject *module, PyObject *Py_UNUSED(none))
{
    unsigned char key[4];

    return take_key(module, key) ? PyBytes_FromStringAndSize((char *)key, 4) : NULL;
}

/* The exception that is set, as an object; none is set afterwards. */
static PyObject *
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

PyDoc_STRVAR(scan_doc,
"scan($module, data, start, end, limit, /)\n--\n\n"
"The messages of all whole, plain frames at the front of data[start:end], and where they end.");

static PyObject *
scan(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t nargs)
{
    Py_buffer data;
    Py_ssize_t start, end, limit, taken, size;
    const unsigned char *base, *body;
    PyObject *messages = NULL, *message, *result;

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
        goto fail;
    }
    messages = PyList_New(0);
    if (messages == NULL) {
        goto fail;
    }
    base = data.buf;
    while ((taken = plain_frame(base + start, end - start, limit, &body, &size)) != 0) {
        if (base[start] == FINAL_TEXT) {
            message = PyUnicode_DecodeUTF8((const char *)body, size, "strict");
            if (message == NULL && PyErr_ExceptionMatches(PyExc_UnicodeDecodeError)) {
                /* Whoever knows the errors looks at this frame again. */
                PyErr_Clear();
                break;
            }
        }
        else {
            message = PyBytes_FromStringAndSize((const char *)body, size);
        }
        if (message == NULL) {
            goto fail;
        }
        if (PyList_Append(messages, message) < 0) {
            Py_DECREF(message);
            goto fail;
        }
        Py_DECREF(message);
        start += taken;
    }
    PyBuffer_Release(&data);
    result = Py_BuildValue("(nN)", start, messages);
    return result;

fail:
    PyBuffer_Release(&data);
    Py_XDECREF(messages);
    return NULL;
}

static PyMethodDef functions[] = {
    {"mask", (PyCFunction)(void (*)(void))mask, METH_FASTCALL, mask_doc},
    {"encode_frame", (PyCFunction)(void (*)(void))encode_frame, METH_FASTCALL, encode_frame_doc},
    {"encode_masked", (PyCFunction)(void (*)(void))encode_masked, METH_FASTCALL,
     encode_masked_doc},
    {"encode_batch", (PyCFunction)(void (*)(void))encode_batch, METH_FASTCALL, encode_batch_doc},
    {"mask_key", mask_key, METH_NOARGS, mask_key_doc},
    {"forget_keys", forget_keys, METH_NOARGS, forget_keys_doc},
    {"scan", (PyCFunction)(void (*)(void))scan, METH_FASTCALL, scan_doc},
    {NULL, NULL, 0, NULL},
};

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

static int
prepare(PyObject *module)
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
    .m_methods = functions,
    .m_slots = slots,
    .m_traverse = traverse,
    .m_clear = clear,
};

PyMODINIT_FUNC
PyInit__c(void)
{
    return PyModuleDef_Init(&module);
}
