/* Names of multi-volume sets and the grouping of files by them. It reads no archive but the first
 * bytes of a part. */
#include "collect/volumes.h"

#include "base/limits.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

enum { ARENA_BYTES = 512 << 20, DIGITS_MAX = 6 };

/* ---- names ----------------------------------------------------------------------------------- */

/* The number at the end of text, at most DIGITS_MAX digits; 0 digits when there is none. */
static unsigned number_at_end(struct ms_span text, uint32_t *number)
{
    unsigned digits = 0;
    uint32_t place = 1;
    *number = 0;
    while (digits < text.len && digits < DIGITS_MAX) {
        uint8_t c = text.data[text.len - digits - 1];
        if (c < '0' || c > '9')
            break;
        *number += (uint32_t)(c - '0') * place;
        place *= 10;
        digits++;
    }
    return digits;
}

static bool ends_with(struct ms_span text, const char *end)
{
    size_t n = strlen(end);
    return text.len > n && strncasecmp((const char *)text.data + text.len - n, end, n) == 0;
}

static struct ms_span without(struct ms_span text, size_t n)
{
    return ms_span_of(text.data, text.len - n);
}

/* NAME.partN.rar and NAME.rar. */
static bool read_rar(struct ms_span path, struct ms_volume_name *out)
{
    struct ms_span name = without(path, 4);
    uint32_t number;
    unsigned digits = number_at_end(name, &number);
    if (digits && number && ends_with(without(name, digits), ".part")) {
        *out = (struct ms_volume_name){.style = MS_VOLUME_RAR_PART,
                                       .stem = without(name, digits + 5),
                                       .number = number - 1,
                                       .digits = digits};
        return true;
    }
    *out = (struct ms_volume_name){.style = MS_VOLUME_RAR_OLD, .stem = name};
    return true;
}

/* NAME.z01, NAME.r00 and NAME.s00: a letter and digits. */
static bool read_lettered(struct ms_span path, uint32_t number, unsigned digits,
                          struct ms_volume_name *out)
{
    if (digits < 2 || path.len < (size_t)digits + 3 || path.data[path.len - digits - 2] != '.')
        return false;
    uint8_t letter = path.data[path.len - digits - 1] | 0x20;
    *out = (struct ms_volume_name){.stem = without(path, (size_t)digits + 2), .digits = digits};
    if (letter == 'z' && number) {
        out->style = MS_VOLUME_ZIP;
        out->number = number - 1;
        return true;
    }
    out->style = MS_VOLUME_RAR_OLD;
    out->number = 1 + number + 100u * (unsigned)(letter - 'r');
    return digits == 2 && letter >= 'r' && letter < 'z';
}

bool ms_volume_name_read(struct ms_span path, struct ms_volume_name *out)
{
    uint32_t number;
    if (ends_with(path, ".rar"))
        return read_rar(path, out);
    if (ends_with(path, ".zip")) {
        *out = (struct ms_volume_name){
            .style = MS_VOLUME_ZIP, .stem = without(path, 4), .number = MS_VOLUME_LAST};
        return true;
    }
    unsigned digits = number_at_end(path, &number);
    if (digits >= 3 && number && path.len > (size_t)digits + 1 &&
        path.data[path.len - digits - 1] == '.') {
        *out = (struct ms_volume_name){.style = MS_VOLUME_RAW,
                                       .stem = without(path, (size_t)digits + 1),
                                       .number = number - 1,
                                       .digits = digits};
        return true;
    }
    return read_lettered(path, number, digits, out);
}

bool ms_volume_sibling(struct ms_span path, uint32_t number, char *out, size_t out_bytes)
{
    struct ms_volume_name name;
    if (!ms_volume_name_read(path, &name))
        return false;
    size_t from = name.stem.len;
    while (from && name.stem.data[from - 1] != '/')
        from--;
    int n = (int)(name.stem.len - from);
    const char *stem = (const char *)name.stem.data + from;
    int digits = name.digits ? (int)name.digits : 2;
    if (name.style == MS_VOLUME_RAW)
        (void)snprintf(out, out_bytes, "%.*s.%0*u", n, stem, digits, number + 1);
    else if (name.style == MS_VOLUME_RAR_PART)
        (void)snprintf(out, out_bytes, "%.*s.part%0*u.rar", n, stem, digits, number + 1);
    else if (name.style == MS_VOLUME_ZIP && number == MS_VOLUME_LAST)
        (void)snprintf(out, out_bytes, "%.*s.zip", n, stem);
    else if (name.style == MS_VOLUME_ZIP)
        (void)snprintf(out, out_bytes, "%.*s.z%0*u", n, stem, digits, number + 1);
    else if (number == 0)
        (void)snprintf(out, out_bytes, "%.*s.rar", n, stem);
    else if (number <= 800)
        (void)snprintf(out, out_bytes, "%.*s.%c%02u", n, stem, 'r' + (int)((number - 1) / 100),
                       (number - 1) % 100);
    else
        return false;
    return true;
}

void ms_volume_missing(const struct ms_entry *entry, char *out, size_t out_bytes)
{
    struct ms_volume_name name;
    uint32_t wanted;
    out[0] = '\0';
    if (!ms_volume_name_read(entry->path, &name))
        return;
    if (entry->set && entry == &entry->set->entry)
        wanted = (uint32_t)entry->set->count - (entry->set->style == MS_VOLUME_ZIP);
    else if (name.style == MS_VOLUME_ZIP)
        wanted = name.number == MS_VOLUME_LAST ? 0 : MS_VOLUME_LAST;
    else
        wanted = name.number == 0 ? 1 : 0;
    if (!ms_volume_sibling(entry->path, wanted, out, out_bytes))
        out[0] = '\0';
}

/* ---- grouping -------------------------------------------------------------------------------- */

struct item {
    struct ms_volume_name name;
    struct ms_entry *entry;
};

static int compare_spans(struct ms_span a, struct ms_span b)
{
    size_t n = a.len < b.len ? a.len : b.len;
    int order = n ? memcmp(a.data, b.data, n) : 0;
    return order ? order : (a.len > b.len) - (a.len < b.len);
}

/* Of one tree, style and stem? */
static int compare_groups(const struct item *a, const struct item *b)
{
    int order = (a->entry->past > b->entry->past) - (a->entry->past < b->entry->past);
    if (!order && a->entry->past)
        order = memcmp(a->entry->commit_id, b->entry->commit_id, MS_SHA1_BYTES);
    if (!order)
        order = (a->name.style > b->name.style) - (a->name.style < b->name.style);
    return order ? order : compare_spans(a->name.stem, b->name.stem);
}

static int compare_items(const void *left, const void *right)
{
    const struct item *a = left, *b = right;
    int order = compare_groups(a, b);
    if (!order)
        order = (a->name.number > b->name.number) - (a->name.number < b->name.number);
    return order ? order : (a->entry > b->entry) - (a->entry < b->entry);
}

static struct item *list_items(const struct ms_entries *entries, size_t *count)
{
    struct item *items = NULL;
    size_t cap = 0;
    *count = 0;
    for (size_t i = 0; i < entries->count; i++) {
        struct ms_volume_name name;
        entries->items[i].set = NULL;
        if (!ms_volume_name_read(entries->items[i].path, &name))
            continue;
        if (*count == cap) {
            cap = cap ? cap * 2 : 64;
            struct item *grown = realloc(items, cap * sizeof *grown);
            if (!grown) {
                free(items);
                *count = SIZE_MAX;
                return NULL;
            }
            items = grown;
        }
        items[(*count)++] = (struct item){name, &entries->items[i]};
    }
    if (*count)
        qsort(items, *count, sizeof *items, compare_items);
    return items;
}

/* The file of that number in items[from, end): the one with as many digits as the first part. */
static struct ms_entry *pick(const struct item *items, size_t *from, size_t end, uint32_t number,
                             unsigned digits)
{
    const struct item *best = NULL;
    for (; *from < end && items[*from].name.number <= number; (*from)++) {
        const struct item *item = &items[*from];
        if (item->name.number == number &&
            (!best || (best->name.digits != digits && item->name.digits == digits)))
            best = item;
    }
    return best ? best->entry : NULL;
}

static enum ms_status make_id(struct ms_volume_set *set, struct ms_error *err)
{
    struct ms_hasher *hasher;
    struct ms_digests digests;
    static const char domain[] = "malseq set 1";
    uint8_t style = (uint8_t)set->style;
    enum ms_status status = ms_hasher_new(MS_HASH_SHA1, &hasher, err);
    if (status != MS_OK)
        return status;
    ms_hasher_update(hasher, domain, sizeof domain);
    ms_hasher_update(hasher, &style, 1);
    for (size_t i = 0; i < set->count; i++)
        ms_hasher_update(hasher, set->parts[i]->git_id, MS_SHA1_BYTES);
    status = ms_hasher_finish(hasher, &digests, err);
    if (status == MS_OK)
        memcpy(set->entry.git_id, digests.sha1, MS_SHA1_BYTES);
    ms_hasher_free(hasher);
    return status;
}

/* The set of a group whose parts were found, with `named` the one that names it. */
static enum ms_status add_set(struct ms_volumes *self, enum ms_volume_style style,
                              struct ms_entry **parts, size_t count, const struct ms_entry *named,
                              struct ms_error *err)
{
    struct ms_volume_set *set = &self->sets[self->count];
    *set = (struct ms_volume_set){.entry = *named, .style = style, .count = count};
    set->parts = ms_arena_alloc_array(&self->arena, count, sizeof(struct ms_entry *));
    if (!set->parts)
        return ms_error_set(err, MS_E_NOMEM, "out of memory");
    set->entry.size = 0;
    set->entry.set = set;
    for (size_t i = 0; i < count; i++) {
        set->parts[i] = parts[i];
        if (parts[i]->size < 0 || set->entry.size < 0 || set->entry.size > INT64_MAX / 2)
            set->entry.size = -1;
        else
            set->entry.size += parts[i]->size;
    }
    enum ms_status status = make_id(set, err);
    for (size_t i = 0; i < count && status == MS_OK; i++)
        parts[i]->set = set;
    self->count += status == MS_OK;
    return status;
}

static enum ms_status group(struct ms_volumes *self, const struct item *items, size_t from,
                            size_t end, struct ms_entry **parts, struct ms_error *err)
{
    enum ms_volume_style style = items[from].name.style;
    struct ms_entry *last = NULL, *part;
    unsigned digits = items[from].name.digits;
    size_t count = 0;
    if (style == MS_VOLUME_ZIP) {
        if (items[end - 1].name.number != MS_VOLUME_LAST)
            return MS_OK;
        last = items[end - 1].entry;
        while (end > from && items[end - 1].name.number == MS_VOLUME_LAST)
            end--;
    }
    /* .r00 has the digits that count, the .rar before it has none. */
    for (size_t i = from; i < end && !digits; i++)
        digits = items[i].name.digits;
    bool others = style == MS_VOLUME_ZIP ? end > from : end - from > 1;
    while (count + 1 < MS_LIMIT_VOLUME_PARTS &&
           (part = pick(items, &from, end, (uint32_t)count, digits)) != NULL)
        parts[count++] = part;
    if (last && others)
        parts[count++] = last;
    if (!others || !count)
        return MS_OK;
    return add_set(self, style, parts, count, last ? last : parts[0], err);
}

enum ms_status ms_volumes_find(const struct ms_entries *entries, struct ms_volumes *out,
                               struct ms_error *err)
{
    size_t count;
    enum ms_status status = MS_OK;
    *out = (struct ms_volumes){.entries = entries};
    ms_arena_init(&out->arena, ARENA_BYTES);
    struct item *items = list_items(entries, &count);
    struct ms_entry **parts = malloc(MS_LIMIT_VOLUME_PARTS * sizeof(struct ms_entry *));
    if (count != SIZE_MAX && count)
        out->sets = ms_arena_alloc_array(&out->arena, count, sizeof *out->sets);
    if (count == SIZE_MAX || !parts || (count && !out->sets))
        status = ms_error_set(err, MS_E_NOMEM, "out of memory");
    for (size_t from = 0, end; status == MS_OK && from < count; from = end) {
        for (end = from + 1; end < count && compare_groups(&items[from], &items[end]) == 0;)
            end++;
        status = group(out, items, from, end, parts, err);
    }
    free(parts);
    free(items);
    return status;
}

void ms_volumes_release(struct ms_volumes *self)
{
    for (size_t i = 0; self->entries && i < self->entries->count; i++)
        self->entries->items[i].set = NULL;
    ms_arena_release(&self->arena);
    *self = (struct ms_volumes){.sets = NULL};
}

const struct ms_entry *ms_volume_whole(const struct ms_entry *entry)
{
    return entry->set && !entry->set->apart ? &entry->set->entry : entry;
}

/* ---- content --------------------------------------------------------------------------------- */

bool ms_volume_may_be(const struct ms_volume_set *set, size_t number, int fd)
{
    static const struct {
        const char *bytes;
        size_t n;
    } magics[] = {{"PK", 2},
                  {"7z\xbc\xaf\x27\x1c", 6},
                  {"Rar!\x1a\x07", 6},
                  {"\x1f\x8b", 2},
                  {"BZh", 3},
                  {"\xfd"
                   "7zXZ",
                   5},
                  {"\x28\xb5\x2f\xfd", 4},
                  {"\x5d\0\0", 3},
                  {"LZIP", 4},
                  {"\x04\x22\x4d\x18", 4},
                  {"MSCF", 4}};
    uint8_t head[262] = {0};
    ssize_t n = pread(fd, head, sizeof head, 0);
    if (set->style == MS_VOLUME_RAR_PART || set->style == MS_VOLUME_RAR_OLD)
        return n >= 7 && memcmp(head, "Rar!\x1a\x07", 6) == 0;
    if (number)
        return true;
    if (set->style == MS_VOLUME_ZIP && set->count > 1)
        return n >= 4 && memcmp(head, "PK", 2) == 0;
    for (size_t i = 0; i < sizeof magics / sizeof *magics; i++)
        if (n >= (ssize_t)magics[i].n && memcmp(head, magics[i].bytes, magics[i].n) == 0)
            return true;
    return memcmp(head + 257, "ustar", 5) == 0 || set->style == MS_VOLUME_ZIP;
}
