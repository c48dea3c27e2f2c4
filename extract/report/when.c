/* Times and ids out of report text. Values come from malware's reports: every digit is checked. */
#include "extract/report/when.h"

#include "store/trace/trace.h"

/* SAFE_DIGITS: so many cannot overflow 64 bits. */
enum { SECOND_US = 1000000, MAX_EXPONENT = 32, PLAIN_DIGITS = 12, SAFE_DIGITS = 19 };

static bool is_digit(uint8_t c)
{
    return c >= '0' && c <= '9';
}

bool ms_when_u64(struct ms_span text, uint64_t *out)
{
    uint64_t value = 0;
    unsigned bad = text.len == 0;
    if (text.len <= SAFE_DIGITS) {
        for (size_t i = 0; i < text.len; i++) {
            unsigned digit = text.data[i] - (unsigned)'0';
            bad |= digit > 9;
            value = value * 10 + digit;
        }
        if (!bad)
            *out = value;
        return !bad;
    }
    for (size_t i = 0; i < text.len; i++) {
        if (!is_digit(text.data[i]) || !ms_mul_u64(value, 10, &value) ||
            !ms_add_u64(value, (uint64_t)(text.data[i] - '0'), &value))
            return false;
    }
    *out = value;
    return true;
}

/* A decimal number of seconds. The point is moved six places to the right (and by the exponent),
 * then the integer part is read: exact, where a double would round. */
static int64_t parse_seconds(struct ms_span text)
{
    size_t i = 0;
    bool negative = text.len && text.data[0] == '-';
    if (negative)
        i++;
    size_t digits_from = i, digits = 0, point = SIZE_MAX;
    for (; i < text.len && (is_digit(text.data[i]) || (text.data[i] == '.' && point == SIZE_MAX));
         i++) {
        if (text.data[i] == '.')
            point = i;
        else
            digits++;
    }
    size_t digits_end = i;
    int64_t exponent = 0;
    if (i < text.len && (text.data[i] == 'e' || text.data[i] == 'E')) {
        i++;
        bool down = i < text.len && text.data[i] == '-';
        if (i < text.len && (text.data[i] == '-' || text.data[i] == '+'))
            i++;
        uint64_t size = 0;
        struct ms_span tail = ms_span_of(text.data + i, text.len - i);
        if (!ms_when_u64(tail, &size) || size > MAX_EXPONENT)
            return MS_TIME_NONE;
        exponent = down ? -(int64_t)size : (int64_t)size;
        i = text.len;
    }
    if (i != text.len || digits == 0)
        return MS_TIME_NONE;
    size_t whole = point == SIZE_MAX ? digits_end - digits_from : point - digits_from;
    int64_t wanted = (int64_t)whole + exponent + 6, seen = 0;
    int64_t value = 0;
    for (size_t k = digits_from; seen < wanted; k++, seen++) {
        if (k < digits_end && k == point)
            k++;
        int digit = k < digits_end ? text.data[k] - '0' : 0;
        if (__builtin_mul_overflow(value, 10, &value) ||
            __builtin_add_overflow(value, digit, &value))
            return MS_TIME_NONE;
    }
    return negative ? -value : value;
}

/* The same for what nearly every call has, digits or digits with a fraction, and so few of them
 * that nothing can overflow; false where a closer look is needed. Times are a tenth of the reading.
 */
static bool parse_plain(struct ms_span text, int64_t *out_us)
{
    size_t i = 0, n = 0;
    int64_t whole = 0, fraction = 0;
    for (; i < text.len && i <= PLAIN_DIGITS && is_digit(text.data[i]); i++)
        whole = whole * 10 + (text.data[i] - '0');
    if (i == 0 || i > PLAIN_DIGITS)
        return false;
    if (i < text.len && text.data[i++] != '.')
        return false;
    for (; i < text.len && n < 6 && is_digit(text.data[i]); i++, n++)
        fraction = fraction * 10 + (text.data[i] - '0');
    for (; n < 6; n++)
        fraction *= 10;
    while (i < text.len && is_digit(text.data[i]))
        i++;
    *out_us = whole * SECOND_US + fraction;
    return i == text.len;
}

/* n digits at *at, moved behind them. */
static bool take_fixed(struct ms_span text, size_t *at, size_t n, int64_t *out)
{
    int64_t value = 0;
    if (text.len - *at < n)
        return false;
    for (size_t i = 0; i < n; i++) {
        uint8_t c = text.data[(*at)++];
        if (!is_digit(c))
            return false;
        value = value * 10 + (c - '0');
    }
    *out = value;
    return true;
}

/* Days since 1970-01-01 in the proleptic Gregorian calendar: years are counted from March, so that
 * the leap day is a year's last. */
static int64_t days_of(int64_t year, int64_t month, int64_t day)
{
    if (month <= 2)
        year--;
    int64_t month_from_march = (month + 9) % 12;
    int64_t days = 365 * year + year / 4 - year / 100 + year / 400;
    return days + (153 * month_from_march + 2) / 5 + day - 1 - 719468;
}

/* A separator: one of two bytes, or nothing in the compact form ("20120102030405.006"). */
static bool take_separator(struct ms_span text, size_t *at, const char *one_of)
{
    if (!one_of)
        return true;
    if (*at >= text.len ||
        (text.data[*at] != (uint8_t)one_of[0] && text.data[*at] != (uint8_t)one_of[1]))
        return false;
    (*at)++;
    return true;
}

/* Fractions of a second and a final Z, up to the end of the text. */
static bool take_fraction(struct ms_span text, size_t *at, int64_t *out_us)
{
    int64_t unit_us = SECOND_US / 10;
    if (*at < text.len && take_separator(text, at, ",.")) {
        if (*at == text.len)
            return false;
        for (; *at < text.len && is_digit(text.data[*at]); (*at)++, unit_us /= 10)
            *out_us += (text.data[*at] - '0') * unit_us;
    }
    if (*at < text.len && text.data[*at] == 'Z')
        (*at)++;
    return *at == text.len;
}

static int64_t parse_calendar(struct ms_span text, bool compact)
{
    int64_t year, month, day, hour, minute, second, fraction_us = 0;
    size_t at = 0;
    const char *in_date = compact ? NULL : "-/", *between = compact ? NULL : " T";
    const char *in_time = compact ? NULL : "::";
    if (!take_fixed(text, &at, 4, &year) || !take_separator(text, &at, in_date) ||
        !take_fixed(text, &at, 2, &month) || !take_separator(text, &at, in_date) ||
        !take_fixed(text, &at, 2, &day) || !take_separator(text, &at, between) ||
        !take_fixed(text, &at, 2, &hour) || !take_separator(text, &at, in_time) ||
        !take_fixed(text, &at, 2, &minute) || !take_separator(text, &at, in_time) ||
        !take_fixed(text, &at, 2, &second) || !take_fraction(text, &at, &fraction_us))
        return MS_TIME_NONE;
    if (year < 1 || month < 1 || month > 12 || day < 1 || day > 31 || hour > 23 || minute > 59 ||
        second > 60)
        return MS_TIME_NONE;
    int64_t seconds = days_of(year, month, day) * 86400 + hour * 3600 + minute * 60 + second;
    return seconds * SECOND_US + fraction_us;
}

/* Fourteen digits, then the end or a fraction: no clock counts that many seconds. */
static bool is_compact(struct ms_span text)
{
    size_t digits = 0;
    while (digits < text.len && is_digit(text.data[digits]))
        digits++;
    return digits == 14 &&
           (digits == text.len || text.data[digits] == '.' || text.data[digits] == ',');
}

int64_t ms_when_parse(struct ms_span text)
{
    int64_t plain_us;
    if (parse_plain(text, &plain_us))
        return plain_us;
    if (text.len >= 19 && (text.data[4] == '-' || text.data[4] == '/'))
        return parse_calendar(text, false);
    return is_compact(text) ? parse_calendar(text, true) : parse_seconds(text);
}
