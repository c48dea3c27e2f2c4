/* Calls by their form. It decides nothing that behavior.c does not: of members that it knows it
 * makes the same values, and leaves to it what does not look as usual. */
#include "extract/report/alike.h"

#include "base/limits.h"
#include "extract/report/when.h"

#include <stdlib.h>
#include <string.h>

enum {
    API,
    CATEGORY,
    TIME,
    TIMESTAMP,
    TID,
    THREAD_ID,
    REPEATED,
    ARGUMENTS,
    CALLER,
    PARENT_CALLER,
    NAMES
};

static const struct ms_scanner_name names[NAMES] = {
    [API] = MS_SCAN_NAME("api"),           [CATEGORY] = MS_SCAN_NAME("category"),
    [TIME] = MS_SCAN_NAME("time"),         [TIMESTAMP] = MS_SCAN_NAME("timestamp"),
    [TID] = MS_SCAN_NAME("tid"),           [THREAD_ID] = MS_SCAN_NAME("thread_id"),
    [REPEATED] = MS_SCAN_NAME("repeated"), [ARGUMENTS] = MS_SCAN_NAME("arguments"),
    [CALLER] = MS_SCAN_NAME("caller"),     [PARENT_CALLER] = MS_SCAN_NAME("parentcaller"),
};

/* The text of the time read last, for neighbours mostly have the same: the guest's clock is coarse.
 */
struct remembered {
    uint8_t bytes[32];
    size_t len;
    int64_t time_us;
};

struct ms_alike {
    struct ms_scanner_form *form;
    struct ms_scanner_field fields[NAMES];
    struct remembered time;
};

enum ms_status ms_alike_new(struct ms_alike **out, struct ms_error *err)
{
    struct ms_alike *self = calloc(1, sizeof *self);
    if (!self)
        return ms_error_set(err, MS_E_NOMEM, "no memory to read a report");
    enum ms_status status = ms_scanner_form_new(names, NAMES, &self->form, err);
    if (status != MS_OK) {
        free(self);
        return status;
    }
    *out = self;
    return MS_OK;
}

void ms_alike_free(struct ms_alike *self)
{
    if (!self)
        return;
    ms_scanner_form_free(self->form);
    free(self);
}

/* Whether the n bytes at both places are the same; two loads for what is mostly compared here. */
static inline bool is_same(const uint8_t *a, const uint8_t *b, size_t n)
{
    uint64_t w[4];
    uint32_t h[4];
    if (n > 16)
        return memcmp(a, b, n) == 0;
    if (n >= 8) {
        memcpy(&w[0], a, 8);
        memcpy(&w[1], b, 8);
        memcpy(&w[2], a + n - 8, 8);
        memcpy(&w[3], b + n - 8, 8);
        return ((w[0] ^ w[1]) | (w[2] ^ w[3])) == 0;
    }
    if (n >= 4) {
        memcpy(&h[0], a, 4);
        memcpy(&h[1], b, 4);
        memcpy(&h[2], a + n - 4, 4);
        memcpy(&h[3], b + n - 4, 4);
        return ((h[0] ^ h[1]) | (h[2] ^ h[3])) == 0;
    }
    while (n && a[n - 1] == b[n - 1])
        n--;
    return n == 0;
}

/* Whether this is the text that is remembered; if not, and it is short enough, it is from now on.
 */
static inline bool recall(struct remembered *self, struct ms_span text)
{
    if (text.len && text.len == self->len && is_same(text.data, self->bytes, text.len))
        return true;
    self->len = 0;
    if (text.len == 0 || text.len > sizeof self->bytes)
        return false;
    memcpy(self->bytes, text.data, text.len);
    self->len = text.len;
    return false;
}

static bool is_text(const struct ms_scanner_field *field, bool numbers)
{
    return field->kind == MS_SCAN_STRING || (numbers && field->kind == MS_SCAN_NUMBER);
}

static struct ms_span name_text(const struct ms_alike *self, uint32_t found, int name)
{
    const struct ms_scanner_field *field = &self->fields[name];
    if (!(found >> name & 1) || !is_text(field, false))
        return (struct ms_span){0};
    size_t len = field->text.bytes.len;
    return ms_span_of(field->text.bytes.data,
                      len < MS_LIMIT_API_NAME_BYTES ? len : MS_LIMIT_API_NAME_BYTES);
}

static int64_t time_of(struct ms_alike *self, const struct ms_scanner_field *field)
{
    if (!is_text(field, true))
        return MS_TIME_NONE;
    if (!recall(&self->time, field->text.bytes))
        self->time.time_us = ms_when_parse(field->text.bytes);
    return self->time.time_us;
}

static uint64_t number_of(const struct ms_scanner_field *field)
{
    uint64_t number;
    return is_text(field, true) && ms_when_u64(field->text.bytes, &number) ? number : 0;
}

/* Of two names for one thing the one that there is; of both the one that stands last, as it would
 * overwrite the other. NULL: neither. */
static const struct ms_scanner_field *either(const struct ms_alike *self, uint32_t found, int one,
                                             int other)
{
    const struct ms_scanner_field *a = &self->fields[one], *b = &self->fields[other];
    if (!(found >> other & 1))
        return found >> one & 1 ? a : NULL;
    return (found >> one & 1) && a->text.bytes.data > b->text.bytes.data ? a : b;
}

bool ms_alike_next(struct ms_alike *self, struct ms_scanner *scan, struct ms_call_info *out,
                   struct ms_behavior_seen *seen)
{
    const uint32_t one = 1;
    uint32_t found;
    if (!ms_scanner_next_alike(scan, self->form, self->fields, &found))
        return false;
    const struct ms_scanner_field *time = either(self, found, TIME, TIMESTAMP);
    const struct ms_scanner_field *tid = either(self, found, TID, THREAD_ID);
    *out = (struct ms_call_info){
        .space = MS_API_CALL,
        .api = name_text(self, found, API),
        .category = name_text(self, found, CATEGORY),
        .time_us = time ? time_of(self, time) : MS_TIME_NONE,
        .tid = tid ? number_of(tid) : MS_TID_NONE,
    };
    if (found & one << REPEATED) {
        uint64_t repeated = number_of(&self->fields[REPEATED]);
        out->repeated = repeated < MS_LIMIT_REPEATED ? repeated : MS_LIMIT_REPEATED;
    }
    enum ms_scanner_kind arguments =
        found & one << ARGUMENTS ? self->fields[ARGUMENTS].kind : MS_SCAN_NULL;
    if ((found & (one << TIME | one << TID)) || arguments == MS_SCAN_OBJECT)
        seen->dict_form = true;
    if ((found & (one << TIMESTAMP | one << THREAD_ID)) || arguments == MS_SCAN_ARRAY)
        seen->list_form = true;
    if (found & (one << CALLER | one << PARENT_CALLER))
        seen->caller_fields = true;
    return true;
}
