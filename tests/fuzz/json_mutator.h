/* For fuzz targets that read JSON: half of the new inputs are made by changing the tree of an old
 * one, a document or a line of a log, so that the brackets stay right and the fields' names known.
 * libFuzzer's own changes make the other half. */
#ifndef MS_TESTS_FUZZ_JSON_MUTATOR_H
#define MS_TESTS_FUZZ_JSON_MUTATOR_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

/* Of libFuzzer; not there where the corpora are replayed. */
size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t max_size) __attribute__((weak));
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned seed);

/* The names that the target reads; ended by NULL. The target defines it. */
extern const char *const json_mutator_names[];

static inline unsigned json_mutator_next(unsigned *state, unsigned below)
{
    *state = *state * 1664525U + 1013904223U;
    return (unsigned)((uint64_t)*state * below >> 32);
}

static inline const char *json_mutator_name(unsigned *state)
{
    unsigned n = 0;
    while (json_mutator_names[n])
        n++;
    return json_mutator_names[json_mutator_next(state, n)];
}

/* Texts about as long as the caps on names. */
static inline json_t *json_mutator_long_text(unsigned *state)
{
    static const unsigned lengths[] = {31, 32, 33, 255, 256, 257, 511, 512, 513, 4095, 4096, 4097};
    char text[4100];
    unsigned n = lengths[json_mutator_next(state, sizeof lengths / sizeof *lengths)];
    memset(text, 'a' + (int)json_mutator_next(state, 26), n);
    text[json_mutator_next(state, n)] = "./\\_0"[json_mutator_next(state, 5)];
    return json_stringn(text, n);
}

static inline json_t *json_mutator_value(unsigned *state)
{
    static const char *const texts[] = {"",
                                        "0",
                                        "1",
                                        "10",
                                        "4294967296",
                                        "18446744073709551615",
                                        "-1",
                                        "a",
                                        "api",
                                        "__a__",
                                        "KERNEL32.A",
                                        "2023-06-02 18:12:53,486",
                                        "1.000001",
                                        "1e3",
                                        "2.4-CAPE",
                                        "1.2",
                                        "\xc3\xa9\xe2\x82\xac",
                                        "C:\\a.exe",
                                        "null",
                                        "20230602181253.486",
                                        "18446744073709551616"};
    static const json_int_t numbers[] = {0,          1,        2,          9,
                                         10,         255,      65536,      4294967295,
                                         4294967296, -1,       1692455124, 9007199254740993,
                                         INT64_MAX,  INT64_MIN};
    switch (json_mutator_next(state, 9)) {
    case 0:
        return json_null();
    case 1:
        return json_mutator_next(state, 2) ? json_true() : json_false();
    case 2:
        return json_array();
    case 3:
        return json_object();
    case 4:
        return json_real(json_mutator_next(state, 4000000) / 1024.0 * 431);
    case 5:
        return json_mutator_long_text(state);
    case 6:
        return json_integer(numbers[json_mutator_next(state, sizeof numbers / sizeof *numbers)]);
    case 7:
        return json_integer((json_int_t)json_mutator_next(state, 4096));
    default:
        return json_string(texts[json_mutator_next(state, sizeof texts / sizeof *texts)]);
    }
}

/* The same as the other type: a number as a text, a text as a number, a value as a list of it. */
static inline json_t *json_mutator_recast(json_t *value, unsigned *state)
{
    char *text = json_is_number(value) ? json_dumps(value, JSON_ENCODE_ANY) : NULL;
    json_t *made = NULL;
    if (text)
        made = json_string(text);
    else if (json_is_string(value))
        made = json_integer(strtoll(json_string_value(value), NULL, 10));
    else if (json_mutator_next(state, 2))
        made = json_pack("[O]", value);
    free(text);
    return made ? made : json_mutator_value(state);
}

static inline void json_mutator_list(json_t *list, size_t at, unsigned *state)
{
    json_t *value = json_array_get(list, at);
    switch (json_mutator_next(state, 4)) {
    case 0:
        (void)json_array_remove(list, at);
        break;
    case 1:
        (void)json_array_set_new(list, at, json_mutator_value(state));
        break;
    case 2:
        (void)json_array_insert_new(list, json_mutator_next(state, (unsigned)at + 1),
                                    json_deep_copy(value));
        break;
    default:
        (void)json_array_append_new(list, json_mutator_recast(value, state));
    }
}

/* A new name goes behind the others: members of an object change their places, too. */
static inline void json_mutator_object(json_t *object, const char *key, unsigned *state)
{
    json_t *value = json_incref(json_object_get(object, key));
    switch (json_mutator_next(state, 6)) {
    case 0:
        (void)json_object_del(object, key);
        break;
    case 1:
        (void)json_object_set_new(object, json_mutator_name(state), json_mutator_value(state));
        break;
    case 2:
        (void)json_object_set_new(object, json_mutator_name(state), json_deep_copy(value));
        break;
    case 3:
        (void)json_object_set_new(object, key, json_mutator_recast(value, state));
        break;
    case 4:
        (void)json_object_set_new(object, key, json_mutator_value(state));
        break;
    default: {
        char *name = strdup(key);
        (void)json_object_del(object, key);
        (void)json_object_set_new(object, name ? name : "a", json_incref(value));
        free(name);
    }
    }
    json_decref(value);
}

/* Changes something in `node`, or somewhere below it. */
static inline void json_mutator_change(json_t *node, unsigned *state)
{
    json_t *child = NULL;
    const char *key = NULL;
    size_t at = 0, n = json_is_array(node) ? json_array_size(node) : json_object_size(node);
    if (json_is_object(node) && n) {
        void *iter = json_object_iter(node);
        for (unsigned i = json_mutator_next(state, (unsigned)n); i; i--)
            iter = json_object_iter_next(node, iter);
        key = json_object_iter_key(iter);
        child = json_object_iter_value(iter);
    } else if (n) {
        at = json_mutator_next(state, (unsigned)n);
        child = json_array_get(node, at);
    }
    bool below = (json_is_object(child) || json_is_array(child)) && json_mutator_next(state, 6);
    if (below)
        json_mutator_change(child, state);
    else if (key)
        json_mutator_object(node, key, state);
    else if (child)
        json_mutator_list(node, at, state);
    else if (json_is_array(node))
        (void)json_array_append_new(node, json_mutator_value(state));
    else
        (void)json_object_set_new(node, json_mutator_name(state), json_mutator_value(state));
}

/* Bytes from *at to *end that are changed: the document, or one of the lines of a log. */
static inline void json_mutator_part(const uint8_t *data, size_t size, unsigned *state, size_t *at,
                                     size_t *end)
{
    json_t *whole = json_loadb((const char *)data, size, JSON_ALLOW_NUL, NULL);
    *at = 0;
    *end = size;
    if (!whole && size) {
        size_t from = json_mutator_next(state, (unsigned)size);
        const uint8_t *stop = memchr(data + from, '\n', size - from);
        for (*at = from; *at && data[*at - 1] != '\n';)
            --*at;
        *end = stop ? (size_t)(stop - data) : size;
    }
    json_decref(whole);
}

static inline size_t json_mutator_run(uint8_t *data, size_t size, size_t max_size, unsigned state)
{
    static const size_t forms[] = {JSON_COMPACT, JSON_INDENT(2), JSON_INDENT(4), 0,
                                   JSON_COMPACT | JSON_ENSURE_ASCII};
    size_t at, end;
    json_mutator_part(data, size, &state, &at, &end);
    json_t *tree = json_loadb((const char *)data + at, end - at, JSON_ALLOW_NUL, NULL);
    if (!tree)
        return 0;
    for (unsigned i = 1 + json_mutator_next(&state, 3); i; i--)
        json_mutator_change(tree, &state);
    bool line = at || end < size;
    char *text =
        json_dumps(tree, line ? 0 : forms[json_mutator_next(&state, sizeof forms / sizeof *forms)]);
    size_t n = text ? strlen(text) : 0, made = 0;
    if (n && at + n + (size - end) <= max_size) {
        made = at + n + (size - end);
        memmove(data + at + n, data + end, size - end);
        memcpy(data + at, text, n);
    }
    free(text);
    json_decref(tree);
    return made;
}

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned seed)
{
    size_t made = seed & 1 ? json_mutator_run(data, size, max_size, seed >> 1 | 1) : 0;
    return made ? made : LLVMFuzzerMutate(data, size, max_size);
}

#endif
