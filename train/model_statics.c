/* Features as JSON to marks. Reads no file and no corpus. */
#include "train/model_statics.h"

#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* The version of the features that the marks are made of. */
enum { FEATURES_VERSION = 1, NAME_BYTES = 400, BYTES_MOST = 4 << 20, MARKS_AT_FIRST = 512 };

static const char *const use_names[] = {"no", "joined", "alone"};

const char *ms_static_use_name(enum ms_static_use use)
{
    return use_names[use];
}

enum ms_status ms_static_use_parse(const char *text, enum ms_static_use *out, struct ms_error *err)
{
    for (int i = 0; i <= MS_STATIC_ALONE; i++)
        if (strcmp(text, use_names[i]) == 0) {
            *out = (enum ms_static_use)i;
            return MS_OK;
        }
    return ms_error_set(err, MS_E_INPUT, "its use of static features is none that is known");
}

void ms_statics_release(struct ms_statics *self)
{
    ms_buf_release(&self->bytes);
    free(self->names);
    free(self->ends);
    *self = (struct ms_statics){0};
}

/* The sections' table and what else is looked at at once. */
struct reading {
    struct ms_statics *out;
    const json_t *features;
    bool failed;
};

static void add(struct reading *r, const char *fmt, ...) MS_PRINTF(2, 3);

static void add(struct reading *r, const char *fmt, ...)
{
    char name[NAME_BYTES];
    struct ms_statics *s = r->out;
    va_list args;
    va_start(args, fmt);
    (void)vsnprintf(name, sizeof name, fmt, args);
    va_end(args);
    if (s->count == s->capacity) {
        size_t capacity = s->capacity ? s->capacity * 2 : MARKS_AT_FIRST;
        size_t *ends = realloc(s->ends, capacity * sizeof *ends);
        if (ends)
            s->ends = ends;
        r->failed |= !ends;
        s->capacity = ends ? capacity : s->capacity;
    }
    r->failed |= ms_buf_append_text(&s->bytes, MS_STATIC_MARK) != MS_OK ||
                 ms_buf_append_text(&s->bytes, name) != MS_OK;
    if (!r->failed)
        s->ends[s->count++] = s->bytes.len;
}

/* ---- steps ---- */

static void add_steps(struct reading *r, const char *name, const json_t *value)
{
    const json_int_t n = json_integer_value(value);
    for (int k = 0; k < 63 && n >> k; k++)
        if (n > 0)
            add(r, "%s>=2^%d", name, k);
}

static void add_entropy(struct reading *r, const char *name, double entropy)
{
    for (int half = 1; half <= 16 && entropy >= half * .5; half++)
        add(r, "%s>=%.1f", name, half * .5);
}

static void add_years(struct reading *r, json_int_t seconds)
{
    const json_int_t year = 1970 + seconds / 31556952;
    for (json_int_t y = 1992; y <= 2030 && y <= year; y += 2)
        add(r, "timestamp>=%lld", (long long)y);
    if (year > 2030)
        add(r, "timestamp>=later");
}

static void add_numbers(struct reading *r)
{
    static const char *const steps[] = {"section_count",
                                        "code_size",
                                        "initialized_data_size",
                                        "uninitialized_data_size",
                                        "entry_point",
                                        "code_base",
                                        "image_size",
                                        "headers_size",
                                        "stack_reserve",
                                        "stack_commit",
                                        "heap_reserve",
                                        "heap_commit"};
    static const char *const values[] = {
        "machine",    "magic",           "subsystem",           "linker_major",
        "os_major",   "subsystem_major", "section_alignment",   "file_alignment",
        "image_base", "directory_count", "optional_header_size"};
    static const char *const bits[] = {"characteristics", "dll_characteristics"};
    for (size_t i = 0; i < sizeof steps / sizeof *steps; i++)
        add_steps(r, steps[i], json_object_get(r->features, steps[i]));
    for (size_t i = 0; i < sizeof values / sizeof *values; i++)
        add(r, "%s=%lld", values[i],
            (long long)json_integer_value(json_object_get(r->features, values[i])));
    for (size_t i = 0; i < sizeof bits / sizeof *bits; i++)
        for (unsigned bit = 0; bit < 16; bit++)
            if (json_integer_value(json_object_get(r->features, bits[i])) >> bit & 1)
                add(r, "%s&0x%x", bits[i], 1U << bit);
    add_years(r, json_integer_value(json_object_get(r->features, "timestamp")));
    if (json_integer_value(json_object_get(r->features, "checksum")) == 0)
        add(r, "checksum=0");
}

/* ---- tables ---- */

static void add_directories(struct reading *r)
{
    const char *name;
    char steps[NAME_BYTES];
    json_t *directory;
    json_object_foreach(json_object_get(r->features, "directories"), name, directory)
    {
        const json_t *size = json_object_get(directory, "size");
        if (json_integer_value(size) <= 0)
            continue;
        add(r, "directory.%.40s", name);
        (void)snprintf(steps, sizeof steps, "directory.%.40s.size", name);
        add_steps(r, steps, size);
    }
}

static json_int_t number(const json_t *object, const char *name)
{
    return json_integer_value(json_object_get(object, name));
}

static void add_section(struct reading *r, const json_t *section, json_int_t entry)
{
    enum { WRITE_EXECUTE = (int)0xa0000000 };
    char steps[NAME_BYTES];
    const char *name = json_string_value(json_object_get(section, "name"));
    const json_t *entropy = json_object_get(section, "entropy");
    const json_int_t at = number(section, "address"), n = number(section, "virtual_size");
    const uint32_t marks = (uint32_t)number(section, "characteristics");
    name = name ? name : "";
    add(r, "section.%.64s", name);
    if (json_is_number(entropy)) {
        (void)snprintf(steps, sizeof steps, "section.%.64s.entropy", name);
        add_entropy(r, steps, json_number_value(entropy));
    }
    if ((marks & (uint32_t)WRITE_EXECUTE) == (uint32_t)WRITE_EXECUTE)
        add(r, "sections.write+execute");
    if (number(section, "raw_size") == 0 && n > 0)
        add(r, "sections.no-bytes");
    if (entry <= 0 || entry < at || entry - at >= n)
        return;
    add(r, "entry.section=%.64s", name);
    if (json_is_number(entropy))
        add_entropy(r, "entry.entropy", json_number_value(entropy));
}

static void add_sections(struct reading *r)
{
    const json_int_t entry = number(r->features, "entry_point");
    double most = 0;
    size_t i;
    json_t *section;
    json_array_foreach(json_object_get(r->features, "sections"), i, section)
    {
        const double entropy = json_number_value(json_object_get(section, "entropy"));
        add_section(r, section, entry);
        most = fmax(most, entropy);
    }
    add_entropy(r, "sections.entropy", most);
}

/* The integers of an object as steps. */
static void add_counts(struct reading *r, const char *of)
{
    char steps[NAME_BYTES];
    const char *name;
    json_t *value;
    json_object_foreach(json_object_get(r->features, of), name, value)
    {
        (void)snprintf(steps, sizeof steps, "%s.%.40s", of, name);
        if (json_is_integer(value) && strcmp(name, "timestamp") != 0)
            add_steps(r, steps, value);
    }
}

static void add_imports(struct reading *r)
{
    size_t i;
    json_t *library;
    json_array_foreach(json_object_get(json_object_get(r->features, "imports"), "names"), i,
                       library)
    {
        char small[NAME_BYTES / 2];
        const char *name = json_string_value(json_object_get(library, "name"));
        (void)snprintf(small, sizeof small, "%s", name ? name : "");
        for (char *c = small; *c; c++)
            *c = *c >= 'A' && *c <= 'Z' ? (char)(*c | 0x20) : *c;
        add(r, "import=%s", small);
    }
    add_counts(r, "imports");
    add_counts(r, "delay_imports");
    add_counts(r, "exports");
}

/* ---- all of them ---- */

static int by_bytes(const void *x, const void *y)
{
    const struct ms_span *a = x, *b = y;
    const size_t n = a->len < b->len ? a->len : b->len;
    const int order = memcmp(a->data, b->data, n);
    return order ? order : (a->len > b->len) - (a->len < b->len);
}

static enum ms_status list_names(struct ms_statics *s, struct ms_error *err)
{
    struct ms_span *names = realloc(s->names, (s->count + 1) * sizeof *names);
    size_t kept = 0;
    if (!names)
        return ms_error_set(err, MS_E_NOMEM, "out of memory for static features");
    s->names = names;
    for (size_t i = 0, from = 0; i < s->count; from = s->ends[i++])
        names[i] = ms_span_of(s->bytes.data + from, s->ends[i] - from);
    if (s->count > 1)
        qsort(names, s->count, sizeof *names, by_bytes);
    for (size_t i = 0; i < s->count; i++)
        if (!kept || by_bytes(&names[kept - 1], &names[i]) != 0)
            names[kept++] = names[i];
    s->count = kept;
    return MS_OK;
}

enum ms_status ms_statics_read(const char *json, struct ms_statics *out, struct ms_error *err)
{
    if (!out->ready)
        ms_buf_init(&out->bytes, BYTES_MOST);
    out->ready = true;
    out->count = 0;
    ms_buf_clear(&out->bytes);
    json_t *features = json ? json_loads(json, 0, NULL) : NULL;
    struct reading r = {.out = out, .features = features};
    if (!json_is_object(features) || !json_is_integer(json_object_get(features, "machine")) ||
        number(features, "version") != FEATURES_VERSION) {
        json_decref(features);
        return ms_error_set(err, MS_REJECT, "no static features of the sample are known");
    }
    add_numbers(&r);
    add_directories(&r);
    add_sections(&r);
    add_imports(&r);
    json_decref(features);
    return r.failed ? ms_error_set(err, MS_E_NOMEM, "out of memory for static features")
                    : list_names(out, err);
}
