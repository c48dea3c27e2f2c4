/* Single values of an antivirus report, and the way through an object's members. */
#include "label/record_private.h"

enum ms_status ms_record_no_memory(struct ms_error *err)
{
    return ms_error_set(err, MS_E_NOMEM, "no memory to read a report");
}

enum ms_record_kind ms_record_kind_of(enum ms_scanner_kind kind)
{
    static const uint8_t kinds[] = {
        [MS_SCAN_OBJECT] = MS_RECORD_OBJECT, [MS_SCAN_ARRAY] = MS_RECORD_ARRAY,
        [MS_SCAN_STRING] = MS_RECORD_STRING, [MS_SCAN_NUMBER] = MS_RECORD_NUMBER,
        [MS_SCAN_TRUE] = MS_RECORD_TRUE,     [MS_SCAN_FALSE] = MS_RECORD_FALSE,
        [MS_SCAN_NULL] = MS_RECORD_NULL};
    return (enum ms_record_kind)kinds[kind];
}

enum ms_status ms_record_hold(struct ms_record_reader *self, struct ms_span bytes,
                              struct ms_record_text *out, struct ms_error *err)
{
    const char *at = (const char *)bytes.data;
    if ((uintptr_t)bytes.data - (uintptr_t)self->document.data >= self->document.len) {
        at = ms_arena_copy(&self->arena, bytes.data, bytes.len);
        if (!at)
            return ms_record_no_memory(err);
    }
    *out = (struct ms_record_text){at, bytes.len, MS_RECORD_STRING};
    return MS_OK;
}

enum ms_status ms_record_text_of(struct ms_record_reader *self,
                                 const struct ms_scanner_field *field, struct ms_record_text *out,
                                 struct ms_error *err)
{
    if (field->kind == MS_SCAN_STRING)
        return ms_record_hold(self, field->text.bytes, out, err);
    *out = (struct ms_record_text){.kind = ms_record_kind_of(field->kind)};
    return MS_OK;
}

enum ms_status ms_record_take_text(struct ms_record_reader *self, struct ms_record_text *out,
                                   struct ms_error *err)
{
    struct ms_scanner_field field = {.found = true};
    enum ms_status status = ms_scanner_take(self->scan, &field.kind, &field.text, err);
    return status == MS_OK ? ms_record_text_of(self, &field, out, err) : status;
}

int64_t ms_record_integer(struct ms_span number, int64_t fallback)
{
    const uint8_t *p = number.data, *end = p + number.len;
    bool negative = p < end && *p == '-';
    int64_t value = 0;
    for (p += negative; p < end && *p >= '0' && *p <= '9'; p++)
        if (__builtin_mul_overflow(value, 10, &value) ||
            __builtin_add_overflow(value, *p - '0', &value))
            return fallback;
    if (p < end && *p == '.') /* 1.0 equals 1 */
        for (p++; p < end && *p == '0';)
            p++;
    return p < end ? fallback : negative ? -value : value;
}

enum ms_status ms_record_take_integer(struct ms_record_reader *self, int64_t fallback, int64_t *out,
                                      struct ms_error *err)
{
    enum ms_scanner_kind kind;
    struct ms_scanner_text text;
    enum ms_status status = ms_scanner_take(self->scan, &kind, &text, err);
    if (status == MS_OK)
        *out = kind == MS_SCAN_NUMBER ? ms_record_integer(text.bytes, fallback) : fallback;
    return status;
}

enum ms_status ms_record_take_seconds(struct ms_record_reader *self, int64_t *ms,
                                      struct ms_error *err)
{
    int64_t seconds = 0;
    enum ms_status status = ms_record_take_integer(self, 0, &seconds, err);
    *ms = seconds > 0 && seconds < 7258118400 ? seconds * 1000 : 0;
    return status;
}

static bool digits(const uint8_t *p, unsigned count, int64_t *out)
{
    *out = 0;
    for (unsigned i = 0; i < count; i++) {
        if (p[i] < '0' || p[i] > '9')
            return false;
        *out = *out * 10 + (p[i] - '0');
    }
    return true;
}

/* Days from 1970-01-01 of the Gregorian calendar. */
static int64_t days_of(int64_t year, int64_t month, int64_t day)
{
    static const uint16_t before[] = {0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334};
    bool leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    int64_t past = year - 1;
    return (past * 365 + past / 4 - past / 100 + past / 400 - 719162) + before[month - 1] +
           (month > 2 && leap) + day - 1;
}

enum ms_status ms_record_take_date(struct ms_record_reader *self, int64_t *ms, struct ms_error *err)
{
    struct ms_scanner_text text;
    enum ms_scanner_kind kind;
    int64_t year, month, day, hour, minute, second;
    enum ms_status status = ms_scanner_take(self->scan, &kind, &text, err);
    *ms = 0;
    if (status != MS_OK || kind != MS_SCAN_STRING || text.bytes.len < 19)
        return status;
    const uint8_t *p = text.bytes.data;
    if (digits(p, 4, &year) && p[4] == '-' && digits(p + 5, 2, &month) && p[7] == '-' &&
        digits(p + 8, 2, &day) && (p[10] == ' ' || p[10] == 'T') && digits(p + 11, 2, &hour) &&
        p[13] == ':' && digits(p + 14, 2, &minute) && p[16] == ':' && digits(p + 17, 2, &second) &&
        (text.bytes.len == 19 || p[19] == '.' || p[19] == 'Z') && year >= 1970 && year < 2200 &&
        month >= 1 && month <= 12 && day >= 1 && day <= 31 && hour < 24 && minute < 60 &&
        second <= 60)
        *ms = (((days_of(year, month, day) * 24 + hour) * 60 + minute) * 60 + second) * 1000;
    return MS_OK;
}

enum ms_status ms_record_each_member(struct ms_record_reader *self, ms_record_member read,
                                     void *ctx, enum ms_record_kind *kind, struct ms_error *err)
{
    struct ms_scanner_text key;
    enum ms_scanner_kind found;
    bool more = true;
    enum ms_status status = ms_scanner_peek(self->scan, &found, err);
    if (status != MS_OK)
        return status;
    *kind = ms_record_kind_of(found);
    if (found != MS_SCAN_OBJECT)
        return ms_scanner_skip(self->scan, err);
    status = ms_scanner_enter(self->scan, err);
    while (status == MS_OK) {
        status = ms_scanner_member(self->scan, &more, &key, err);
        if (status != MS_OK || !more)
            break;
        status = read(self, &key, ctx, err);
    }
    return status;
}
