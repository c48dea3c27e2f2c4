/* For fuzz_dataset: the published datasets read the plain way, a line and a field at a time from
 * the whole text, by the rules that extract/dataset_*.h give. What the streaming readers send is
 * compared with it. It reads no archives; texts with quotation marks are not compared. */
#ifndef MS_TESTS_FUZZ_PLAIN_DATASET_H
#define MS_TESTS_FUZZ_PLAIN_DATASET_H

#include "extract/dataset_listing.h"
#include "extract/dataset_oliveira.h"
#include "plain_reader.h"

#include <stdio.h>
#include <strings.h>

enum { PLAIN_ROWS = 512, PLAIN_FIELD_MAX = MS_LIMIT_API_NAME_BYTES };

/* Texts as digests; names: of all calls' names in their order. */
struct plain_row {
    uint64_t line, calls, names, bytes;
    uint64_t key, label, second, date;
    enum ms_report_state state; /* of a report */
    bool refused;               /* the row has a reason */
};

struct plain_rows {
    struct plain_row rows[PLAIN_ROWS];
    size_t count;
    bool refused; /* the job ends with a fault */
};

static inline uint64_t plain_span(struct ms_span text)
{
    return plain_digest(text.data, text.len, PLAIN_FIELD_MAX);
}

static inline void plain_name(struct plain_row *row, uint64_t name)
{
    row->names = (row->names ^ name) * 1099511628211U + ++row->calls;
}

static inline struct plain_row *plain_next_row(struct plain_rows *self, uint64_t line)
{
    static struct plain_row beyond;
    struct plain_row *row = self->count < PLAIN_ROWS ? &self->rows[self->count] : &beyond;
    const uint64_t none = plain_digest("", 0, 0);
    self->count++;
    *row =
        (struct plain_row){.line = line, .key = none, .label = none, .second = none, .date = none};
    return row;
}

/* What stands before the next of the separators, which is passed. *found: there was one. */
static inline struct ms_span plain_take(struct ms_span *rest, const char *separators, size_t n,
                                        bool *found)
{
    size_t len = 0;
    while (len < rest->len && !memchr(separators, rest->data[len], n))
        len++;
    struct ms_span piece = ms_span_of(rest->data, len);
    *found = len < rest->len;
    len += *found;
    *rest = ms_span_of(rest->data + len, rest->len - len);
    return piece;
}

/* ---- a line a sample ---- */

static inline void plain_names_rows(struct plain_rows *self, struct ms_span text)
{
    for (bool ended = true; text.len;) {
        struct ms_span line = plain_take(&text, "\n", 1, &ended);
        struct plain_row row = {.names = 0};
        for (size_t at = 0, from = 0; at <= line.len; at++)
            if (at == line.len || line.data[at] <= ' ') {
                if (at > from)
                    plain_name(&row, plain_span(ms_span_of(line.data + from, at - from)));
                from = at + 1;
            }
        if (!ended && !row.calls)
            return;
        struct plain_row *out = plain_next_row(self, self->count + 1);
        out->calls = row.calls;
        out->names = row.names;
    }
}

static inline void plain_class_rows(struct plain_rows *self, struct ms_span text)
{
    bool found;
    while (text.len) {
        struct ms_span line = plain_take(&text, "\n", 1, &found), last = {0};
        while (line.len) {
            struct ms_span word = plain_take(&line, "\r", 1, &found);
            last = word.len ? word : last;
        }
        if (last.len)
            plain_next_row(self, self->count + 1)->label = plain_span(last);
    }
}

/* ---- tables ---- */

/* The next line, which CR, LF or both end. */
static inline struct ms_span plain_table_line(struct ms_span *text)
{
    bool found;
    struct ms_span line = plain_take(text, "\r\n", 2, &found);
    if (found && line.data[line.len] == '\r' && text->len && *text->data == '\n')
        *text = ms_span_of(text->data + 1, text->len - 1);
    return line;
}

/* How many there are; those beyond `most` are counted, and not kept. */
static inline size_t plain_fields(struct ms_span line, struct ms_span *out, size_t most)
{
    size_t n = 0;
    for (bool more = true; more; n++) {
        struct ms_span field = plain_take(&line, ",", 1, &more);
        if (n < most)
            out[n] = field;
    }
    return n;
}

enum { PLAIN_COLUMNS = 1024, PLAIN_OLIVEIRA = MS_OLIVEIRA_CALLS + 2 };

static inline bool plain_is_head(const struct ms_span *fields, size_t n, bool numbers)
{
    char name[24];
    if (!numbers)
        return n >= 2 && ms_span_equal_text(fields[0], "sha256") &&
               ms_span_equal_text(fields[1], "labels");
    if (n != PLAIN_OLIVEIRA || !ms_span_equal_text(fields[0], "hash"))
        return false;
    for (size_t i = 0; i < MS_OLIVEIRA_CALLS; i++) {
        (void)snprintf(name, sizeof name, "t_%zu", i);
        if (!ms_span_equal_text(fields[1 + i], name))
            return false;
    }
    return ms_span_equal_text(fields[n - 1], "malware");
}

static inline void plain_numbered_call(struct plain_row *row, struct ms_span field)
{
    char text[8] = "", *end = text;
    if (field.len > 0 && field.len < 7)
        memcpy(text, field.data, field.len);
    unsigned long number = isdigit((unsigned char)text[0]) ? strtoul(text, &end, 10) : 0;
    if (end == text || (size_t)(end - text) != field.len || number >= MS_OLIVEIRA_NAMES)
        row->refused = true;
    else
        plain_name(row, plain_span(ms_span_of((const uint8_t *)ms_oliveira_names[number],
                                              strlen(ms_oliveira_names[number]))));
}

static inline void plain_table_rows(struct plain_rows *self, struct ms_span text, bool numbers)
{
    static struct ms_span fields[PLAIN_COLUMNS];
    bool past_head = false;
    for (uint64_t number = 1; text.len && !self->refused; number++) {
        struct ms_span line = plain_table_line(&text);
        if (!line.len)
            continue;
        size_t n = plain_fields(line, fields, PLAIN_COLUMNS);
        if (!past_head) {
            past_head = true;
            self->refused = !plain_is_head(fields, n, numbers);
            continue;
        }
        struct plain_row *row = plain_next_row(self, number);
        size_t label = numbers ? PLAIN_OLIVEIRA - 1 : 1;
        row->refused = numbers ? n != PLAIN_OLIVEIRA : n < 2;
        row->key = plain_span(fields[0]);
        if (n > label)
            row->label = plain_span(fields[label]);
        for (size_t i = numbers ? 1 : 2; i < n && i < PLAIN_COLUMNS; i++)
            if (numbers && i < label)
                plain_numbered_call(row, fields[i]);
            else if (!numbers && fields[i].len)
                plain_name(row, plain_span(fields[i]));
    }
    self->refused |= !past_head;
}

static inline bool plain_same_word(struct ms_span field, const char *word)
{
    return field.len == strlen(word) && strncasecmp((const char *)field.data, word, field.len) == 0;
}

static inline void plain_label_rows(struct plain_rows *self, struct ms_span text, bool big)
{
    static const char *const names[2][4] = {
        {"sha256", "classification_family", "classification_type", "date"}, {"Id", "Class"}};
    static struct ms_span fields[PLAIN_COLUMNS];
    size_t columns[4] = {0}, width = 0, wanted = big ? 2 : 4;
    for (uint64_t number = 1; text.len && !self->refused; number++) {
        struct ms_span line = plain_table_line(&text);
        if (!line.len)
            continue;
        size_t n = plain_fields(line, fields, PLAIN_COLUMNS);
        if (!width) {
            width = n;
            for (size_t i = 0; i < wanted; i++) {
                for (columns[i] = 0; columns[i] < n; columns[i]++)
                    if (plain_same_word(fields[columns[i]], names[big][i]))
                        break;
                self->refused |= columns[i] == n;
            }
            continue;
        }
        struct plain_row *row = plain_next_row(self, number);
        uint64_t *const to[] = {&row->key, &row->label, &row->second, &row->date};
        row->refused = n != width;
        for (size_t i = 0; i < wanted; i++)
            if (columns[i] < n) {
                *to[i] = plain_span(fields[columns[i]]);
                row->refused |= fields[columns[i]].len > PLAIN_FIELD_MAX;
            }
    }
    self->refused |= !width;
}

/* ---- listings and dumps ---- */

static inline bool plain_is_hex(struct ms_span word, bool small)
{
    for (size_t i = 0; i < word.len; i++)
        if (!isxdigit(word.data[i]) || (!small && islower(word.data[i])))
            return false;
    return true;
}

static inline struct ms_span plain_word(struct ms_span *line)
{
    struct ms_span word = {0};
    for (bool more = true; !word.len && more;)
        word = plain_take(line, " \t", 2, &more);
    return word;
}

static inline bool plain_is_place(struct ms_span word)
{
    size_t name = word.len;
    while (name && word.data[name - 1] != ':')
        name--;
    struct ms_span address = ms_span_of(word.data + name, word.len - name);
    return name > 1 && name - 1 <= MS_LISTING_SEGMENT && address.len >= 8 && address.len <= 16 &&
           plain_is_hex(address, false);
}

static inline bool plain_is_pair(struct ms_span word)
{
    return (word.len == 2 || (word.len == 3 && word.data[2] == '+')) &&
           (memcmp(word.data, "??", 2) == 0 || plain_is_hex(ms_span_of(word.data, 2), false));
}

static inline bool plain_is_among(struct ms_span word, const char *list)
{
    char wanted[32] = " ";
    if (!word.len || word.len > 28 || memchr(word.data, 0, word.len))
        return false;
    memcpy(wanted + 1, word.data, word.len);
    wanted[word.len + 1] = ' ';
    return strstr(list, wanted) != NULL;
}

#define PLAIN_DATA " db dw dd dq dt do dp df "

static inline bool plain_is_mnemonic(struct ms_span word)
{
    bool good = word.len && word.len <= MS_MNEMONIC_BYTES && islower(*word.data);
    for (size_t i = 0; good && i < word.len; i++)
        good = islower(word.data[i]) || isdigit(word.data[i]);
    return good && !plain_is_among(word, PLAIN_DATA
                                   "align extrn public assume end unicode include org text "
                                   "offset dup model byte word dword ");
}

static inline void plain_listing(struct plain_rows *self, struct ms_span text)
{
    struct plain_row *row = plain_next_row(self, 0);
    bool listed = false, more;
    while (text.len) {
        struct ms_span line = plain_take(&text, "\n", 1, &more), word;
        line.len = line.len < MS_LISTING_KEPT ? line.len : MS_LISTING_KEPT;
        if (line.len && line.data[line.len - 1] == '\r')
            line.len--;
        if (!plain_is_place(plain_word(&line)))
            continue;
        listed = true;
        size_t pairs = 0;
        while (plain_is_pair(word = plain_word(&line)))
            pairs++;
        word = plain_take(&word, ";", 1, &more); /* a comment may stand right behind it */
        struct ms_span next = plain_word(&line);
        if (pairs && plain_is_mnemonic(word) && !(next.len && *next.data == '<') &&
            !plain_is_among(next,
                            PLAIN_DATA "= proc endp segment ends equ struc label macro union "))
            plain_name(row, plain_span(word));
    }
    row->refused = !listed;
}

static inline void plain_dump(struct plain_rows *self, struct ms_span text)
{
    static uint8_t kept[PLAIN_DOCUMENT_BYTES];
    struct plain_row *row = plain_next_row(self, 0);
    size_t n = 0;
    bool more;
    for (size_t i = 0; i < text.len; i++)
        if (text.data[i] != '\r')
            kept[n++] = text.data[i];
    struct ms_span rest = ms_span_of(kept, n);
    while (rest.len && !row->refused) {
        struct ms_span line = plain_take(&rest, "\n", 1, &more);
        struct ms_span word = plain_take(&line, " \t", 2, &more);
        if (word.len || more)
            row->refused = word.len < 8 || word.len > 16 || !plain_is_hex(word, true);
        while (more && !row->refused) {
            word = plain_take(&line, " \t", 2, &more);
            row->refused =
                word.len &&
                (word.len != 2 || (memcmp(word.data, "??", 2) != 0 && !plain_is_hex(word, true)));
            row->bytes += word.len == 2 && !row->refused;
        }
    }
}

/* ---- reports ---- */

/* False: it is not compared. */
static inline bool plain_report(struct plain_rows *self, struct ms_span text, struct ms_span key)
{
    static struct plain due;
    bool is_report;
    if (!plain_read(&due, text.data, text.len, &is_report) || due.call_count > PLAIN_CALLS)
        return false;
    struct plain_row *row = plain_next_row(self, 0);
    const struct plain_field *target = &due.fields[2];
    bool other = target->len == 64 && !memchr(target->bytes, 0, 64) &&
                 (key.len < 64 || strncasecmp((const char *)key.data, target->bytes, 64) != 0);
    if (target->unknown)
        return false;
    row->refused = !is_report || other;
    row->state = due.state;
    if (due.state == MS_REPORT_NO_BEHAVIOR && due.behavior) /* a reduced report */
        row->state = MS_REPORT_NO_CALLS;
    for (size_t i = 0; is_report && i < due.call_count; i++)
        plain_name(row, due.calls[i].api);
    return true;
}

#endif
