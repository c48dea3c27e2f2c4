/* Fuzz target: AVClass's rules and labels. The first byte chooses: fixed rules and fuzzed labels,
 * fuzzed rules and fixed labels, or both; and the lines that reports are read by. Checks the order
 * of tags, their counts, and that a second judgement says the same. */
#include "base/buf.h"
#include "base/file.h"
#include "label/avclass.h"
#include "label/avclass_lines.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { LABELS = 256 };

static void check(bool holds)
{
    if (!holds)
        abort();
}

static struct ms_span text_span(const char *text)
{
    return ms_span_of(text, strlen(text));
}

static const struct ms_avclass_rules *fixed_rules(void)
{
    static struct ms_avclass_rules rules;
    rules = (struct ms_avclass_rules){
        text_span("FAM:zbot\nCLASS:grayware:adware\nCLASS:grayware\nCLASS:worm\nGEN:trojan\nbare\n"
                  "UNK:known\nFILE:os:windows\n"),
        text_span("adload\tadware\nwin\twindows trojan\ngone\ttrojan\nzb\tzbot worm\n"),
        text_span("worm\tspreads\nzbot\tbare\n")};
    return &rules;
}

/* The part in front of the next zero byte. */
static struct ms_span next_part(struct ms_span *rest)
{
    const uint8_t *zero = rest->len ? memchr(rest->data, 0, rest->len) : NULL;
    size_t n = zero ? (size_t)(zero - rest->data) : rest->len;
    struct ms_span part = ms_span_of(rest->data, n);
    n += zero != NULL;
    *rest = ms_span_of(rest->data + n, rest->len - n);
    return part;
}

static void check_verdict(const struct ms_avclass_verdict *verdict, size_t labels)
{
    check(verdict->vt_count <= labels);
    bool family = false;
    for (size_t i = 0; i < verdict->tag_count; i++) {
        const struct ms_avclass_tag *tag = &verdict->tags[i];
        check(tag->count >= 2 && tag->count <= labels);
        check(tag->known ||
              (tag->path.len == tag->name.len + 4 && memcmp(tag->path.data, "UNK:", 4) == 0));
        check(tag->path.len >= tag->name.len);
        if (tag->family && !family)
            check(verdict->family == tag);
        family = family || tag->family;
        if (i == 0)
            continue;
        const struct ms_avclass_tag *before = tag - 1;
        size_t n = tag->name.len < before->name.len ? tag->name.len : before->name.len;
        int order = n ? memcmp(before->name.data, tag->name.data, n) : 0;
        check(before->count > tag->count ||
              (before->count == tag->count &&
               (order > 0 || (order == 0 && before->name.len > tag->name.len))));
    }
    check(family == (verdict->family != NULL));
    check(!verdict->verified || verdict->family);
}

static size_t digest(const struct ms_avclass_verdict *verdict)
{
    size_t sum = verdict->tag_count * 31 + verdict->vt_count + verdict->pup;
    for (size_t i = 0; i < verdict->tag_count; i++) {
        sum = sum * 31 + verdict->tags[i].count;
        for (size_t k = 0; k < verdict->tags[i].path.len; k++)
            sum = sum * 31 + verdict->tags[i].path.data[k];
    }
    return sum;
}

static void judge(const struct ms_avclass_rules *rules, struct ms_span labels, bool clean)
{
    static const char *const engines[] = {"A",       "AVG",   "Agnitum",  "Kaspersky",
                                          "GData",   "Avast", "Emsisoft", "TrendMicro-HouseCall",
                                          "F-Secure"};
    struct ms_avclass_label rows[LABELS];
    struct ms_avclass *engine = NULL;
    struct ms_avclass_verdict verdict;
    struct ms_avclass_sample sample = {.labels = rows, .clean = clean};
    sample.md5 = next_part(&labels);
    sample.sha1 = text_span("deadbeefcafe0000111122223333444455556666");
    sample.sha256 = text_span("f");
    while (labels.len && sample.count < LABELS) {
        struct ms_span label = next_part(&labels);
        const char *name = engines[label.len ? label.data[0] % 9 : 0];
        rows[sample.count++] = (struct ms_avclass_label){text_span(name), label};
    }
    if (ms_avclass_new(rules, &engine, NULL) != MS_OK)
        return;
    check(ms_avclass_judge(engine, &sample, &verdict, NULL) == MS_OK);
    check_verdict(&verdict, sample.count);
    size_t first = digest(&verdict);
    check(ms_avclass_judge(engine, &sample, &verdict, NULL) == MS_OK);
    check(digest(&verdict) == first);
    ms_avclass_free(engine);
}

/* Each byte of the stream is in one line or in what ends lines. */
static void split(struct ms_span text)
{
    struct ms_stream *stream = NULL;
    struct ms_avclass_lines lines;
    struct ms_span line;
    size_t held = 0, ends = 0;
    bool more = true;
    int fd = -1;
    check(ms_file_memory("lines", &fd, NULL) == MS_OK);
    check(ms_file_write_all(fd, text.data, text.len, NULL) == MS_OK && lseek(fd, 0, SEEK_SET) == 0);
    if (ms_stream_open(fd, (uint64_t)1 << 30, &stream, NULL) == MS_OK) {
        bool plain = ms_stream_kind_get(stream) == MS_STREAM_PLAIN;
        ms_avclass_lines_init(&lines, stream);
        enum ms_status status = MS_OK;
        while (status == MS_OK && more) {
            status = ms_avclass_lines_next(&lines, &line, &more, NULL);
            held += status == MS_OK && more ? line.len : 0;
            check(status != MS_OK || !more ||
                  ((!line.len || !memchr(line.data, '\n', line.len)) &&
                   (!line.len || !memchr(line.data, '\r', line.len))));
        }
        for (size_t i = 0; i < text.len; i++)
            ends += text.data[i] == '\n' || text.data[i] == '\r';
        check(!plain || (status == MS_OK && held + ends == text.len));
        ms_avclass_lines_release(&lines);
        ms_stream_close(stream);
    }
    check(close(fd) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char labels[] =
        "0123456789abcdef\0Trojan.Zbot.x\0Win32/ZBOT.AB (B)\0Malware.adload!x"
        "\0worm spreads bare\0Worm:known";
    struct ms_span rest = ms_span_of(data, size);
    uint8_t mode = 0;
    if (!ms_span_take_u8(&rest, &mode))
        return 0;
    if (mode % 4 == 3) {
        split(rest);
        return 0;
    }
    struct ms_avclass_rules rules = *fixed_rules();
    if (mode % 4 != 0) {
        rules.taxonomy = next_part(&rest);
        rules.tagging = next_part(&rest);
        rules.expansion = next_part(&rest);
    }
    judge(&rules, mode % 4 == 1 ? ms_span_of(labels, sizeof labels - 1) : rest, mode & 4);
    return 0;
}
