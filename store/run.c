/* Rows of `run`: which command line did what, with secrets left out. */
#include "store/run.h"

#include "base/clock.h"
#include "base/json.h"
#include "store/internal.h"

#include <stdlib.h>
#include <string.h>

/* Words of a command line that are kept: xargs makes lines of 100,000 names, and the row is there
 * to be read. */
enum { ARGV_KEPT = 1000 };

static bool ends_in(const char *text, size_t n, const char *suffix)
{
    size_t k = strlen(suffix);
    return n >= k && memcmp(text + n - k, suffix, k) == 0;
}

/* The length of a secret option's name in "--vt-key" or "--vt-key=value"; 0 for other words. */
static size_t secret_option(const char *word)
{
    if (word[0] != '-' || word[1] != '-')
        return 0;
    size_t n = strcspn(word, "=");
    return ends_in(word, n, "token") || ends_in(word, n, "key") ? n : 0;
}

/* Appends a word, with "user:password@" of a URL in it replaced. */
static void append_word(struct ms_buf *out, const char *word)
{
    const char *authority = strstr(word, "://");
    if (authority) {
        authority += 3;
        size_t n = strcspn(authority, "/?#");
        const char *at = NULL;
        for (size_t i = 0; i < n; i++)
            at = authority[i] == '@' ? authority + i : at;
        if (at) {
            (void)ms_buf_append(out, word, (size_t)(authority - word));
            (void)ms_buf_append_text(out, "***");
            word = at;
        }
    }
    (void)ms_buf_append_text(out, word);
}

/* JSON array text of the command line; free it. NULL without memory. */
static char *argv_text(int argc, char **argv)
{
    json_t *array = json_array();
    struct ms_buf word;
    bool hide_next = false;
    bool failed = !array;
    ms_buf_init(&word, (size_t)1 << 20);
    for (int i = 0; i < argc && !failed; i++) {
        ms_buf_clear(&word);
        size_t name = secret_option(argv[i]);
        if (i == ARGV_KEPT) {
            (void)ms_buf_printf(&word, "... and %d more", argc - i);
        } else if (hide_next && argv[i][0] != '-') {
            (void)ms_buf_append_text(&word, "***");
        } else if (name && argv[i][name] == '=') {
            (void)ms_buf_append(&word, argv[i], name);
            (void)ms_buf_append_text(&word, "=***");
        } else {
            append_word(&word, argv[i]);
        }
        hide_next = name && argv[i][name] == '\0';
        failed = json_array_append_new(array, ms_json_bytes(ms_buf_text(&word), word.len)) != 0;
        if (i == ARGV_KEPT)
            break;
    }
    char *text = failed ? NULL : json_dumps(array, JSON_COMPACT | JSON_ENCODE_ANY);
    ms_buf_release(&word);
    json_decref(array);
    return text;
}

enum ms_status ms_run_begin(struct ms_corpus *corpus, const char *tool, int argc, char **argv,
                            uint64_t seed, int64_t *run, struct ms_error *err)
{
    static const char sql[] = "INSERT INTO run (tool, version, argv, seed, started_ms)"
                              " VALUES (?1, ?2, ?3, ?4, ?5)";
    char *text = argv_text(argc, argv);
    if (!text)
        return ms_error_set(err, MS_E_NOMEM, "out of memory");
    sqlite3_stmt *statement;
    enum ms_status status = ms_db_prepare(corpus, sql, &statement, err);
    if (status == MS_OK) {
        ms_db_bind_text(statement, 1, tool);
        ms_db_bind_text(statement, 2, MS_VERSION);
        ms_db_bind_text(statement, 3, text);
        ms_db_bind_int(statement, 4, (int64_t)seed);
        ms_db_bind_int(statement, 5, ms_clock_wall_ms());
        status = ms_db_run(corpus, statement, err);
    }
    if (status == MS_OK)
        *run = ms_db_last_id(corpus);
    free(text);
    return status;
}

enum ms_status ms_run_end(struct ms_corpus *corpus, int64_t run, int exit_code,
                          const char *counts_json, const uint8_t *input_digest,
                          struct ms_error *err)
{
    static const char sql[] = "UPDATE run SET ended_ms = ?2, exit_code = ?3, counts = ?4,"
                              " input_digest = ?5 WHERE id = ?1";
    sqlite3_stmt *statement;
    enum ms_status status = ms_db_prepare(corpus, sql, &statement, err);
    if (status != MS_OK)
        return status;
    ms_db_bind_int(statement, 1, run);
    ms_db_bind_int(statement, 2, ms_clock_wall_ms());
    ms_db_bind_int(statement, 3, exit_code);
    ms_db_bind_text(statement, 4, counts_json);
    ms_db_bind_blob(statement, 5, input_digest, input_digest ? 32 : 0);
    return ms_db_run(corpus, statement, err);
}
