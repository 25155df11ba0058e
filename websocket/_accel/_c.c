/* The hot functions in C: the twin of py.py, which says what they do and is what they are
 * tested against. Nothing here keeps state, so there is nothing to lock, to fork or to share
 * between interpreters. RFC 6455 sections 5.2 and 5.3. */

#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <stdint.h>
#include <string.h>

#define FINAL_TEXT 0x81
#define FINAL_BINARY 0x82
#define MASKED 0x80

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

static PyObject *
build_frame(unsigned char first, const void *payload, Py_ssize_t size, const unsigned char *key)
{
    unsigned char mask_bit = key == NULL ? 0 : MASKED;
    Py_ssize_t length_size = size < 126 ? 0 : size < 65536 ? 2 : 8;
    Py_ssize_t head = 2 + length_size + (key == NULL ? 0 : 4);
    PyObject *frame;
    unsigned char *p;
    Py_ssize_t i;

    if (size > PY_SSIZE_T_MAX - head) {
        return PyErr_NoMemory();
    }
    frame = PyBytes_FromStringAndSize(NULL, head + size);
    if (frame == NULL) {
        return NULL;
    }
    p = (unsigned char *)PyBytes_AS_STRING(frame);
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
        xor_mask(p + 4, payload, size, key);
    }
    else if (size > 0) { /* an empty buffer may have no address */
        memcpy(p, payload, size);
    }
    return frame;
}

PyDoc_STRVAR(encode_frame_doc,
"encode_frame($module, first, payload, key, /)\n--\n\n"
"Header, mask key and masked payload in one object.");

static PyObject *
encode_frame(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t nargs)
{
    const unsigned char *key = NULL;
    PyObject *payload, *encoded, *frame;
    long first;

    if (!check_arguments("encode_frame", nargs, 3)) {
        return NULL;
    }
    first = PyLong_AsLong(args[0]);
    if (first == -1 && PyErr_Occurred()) {
        return NULL;
    }
    if (first < 0 || first > 255) {
        PyErr_SetString(PyExc_ValueError, "the first byte of a frame is in range(256)");
        return NULL;
    }
    if (args[2] != Py_None && !get_key(args[2], &key)) {
        return NULL;
    }
    payload = args[1];
    if (PyBytes_CheckExact(payload)) {
        return build_frame((unsigned char)first, PyBytes_AS_STRING(payload),
                           PyBytes_GET_SIZE(payload), key);
    }
    if (PyUnicode_Check(payload)) {
        if (PyUnicode_IS_ASCII(payload)) {
            return build_frame((unsigned char)first, PyUnicode_1BYTE_DATA(payload),
                               PyUnicode_GET_LENGTH(payload), key);
        }
        /* Not PyUnicode_AsUTF8AndSize: it would keep its copy as long as the str lives. */
        encoded = PyUnicode_AsUTF8String(payload);
        if (encoded == NULL) {
            return NULL;
        }
        frame = build_frame((unsigned char)first, PyBytes_AS_STRING(encoded),
                            PyBytes_GET_SIZE(encoded), key);
        Py_DECREF(encoded);
        return frame;
    }
    else {
        Py_buffer data;
        if (PyObject_GetBuffer(payload, &data, PyBUF_SIMPLE) < 0) {
            return NULL;
        }
        frame = build_frame((unsigned char)first, data.buf, data.len, key);
        PyBuffer_Release(&data);
        return frame;
    }
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
    {"scan", (PyCFunction)(void (*)(void))scan, METH_FASTCALL, scan_doc},
    {NULL, NULL, 0, NULL},
};

static PyModuleDef_Slot slots[] = {
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
    .m_size = 0,
    .m_methods = functions,
    .m_slots = slots,
};

PyMODINIT_FUNC
PyInit__c(void)
{
    return PyModuleDef_Init(&module);
}
