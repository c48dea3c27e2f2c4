/* Fuzz target: what a server's answer can bring into base/http: a Location, a Retry-After, a body
 * under Content-Encoding: gzip. The first byte chooses. */
#include "base/http_body.h"
#include "base/http_retry.h"
#include "base/http_url.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool holds)
{
    if (!holds)
        abort();
}

/* What was accepted is canonical: read again, it is the same place. */
static void try_url(const char *text)
{
    static struct ms_url base, first, again;
    check(ms_url_parse("https://a.example/b/c?d", &base, NULL) == MS_OK);
    if (ms_url_resolve(&base, text, &first, NULL) != MS_OK)
        return;
    check(strncmp(first.text, "https://", 8) == 0 || strncmp(first.text, "http://", 7) == 0);
    check(!strchr(first.text, '#') && !strpbrk(first.text, " \r\n\t"));
    check(ms_url_parse(first.text, &again, NULL) == MS_OK);
    check(strcmp(first.origin, again.origin) == 0 && strcmp(first.text, again.text) == 0);
}

static void try_body(const uint8_t *data, size_t size)
{
    enum { MAX = 100000 };
    struct ms_buf out;
    struct ms_http_body body;
    ms_buf_init(&out, MAX);
    check(ms_http_body_init(&body, &out, 0, MAX, "gzip", NULL) == MS_OK);
    enum ms_status status = MS_OK;
    for (size_t at = 0; at < size && status == MS_OK; at += 13)
        status = ms_http_body_write(&body, data + at, size - at < 13 ? size - at : 13, NULL);
    if (status == MS_OK)
        status = ms_http_body_finish(&body, NULL);
    check(out.len <= MAX && out.len == body.bytes);
    ms_http_body_release(&body);
    ms_buf_release(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    if (data[0] == 'g') {
        try_body(data + 1, size - 1);
        return 0;
    }
    char *text = malloc(size);
    if (!text)
        return 0;
    memcpy(text, data + 1, size - 1);
    text[size - 1] = '\0';
    if (data[0] == 'u') {
        try_url(text);
    } else {
        int64_t wait = ms_retry_after_ms(text, 1700000000000);
        check(wait >= -1 && wait <= (int64_t)31 * 86400000);
    }
    free(text);
    return 0;
}
