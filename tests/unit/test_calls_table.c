/* malseq query and the table `calls`: the same calls as were encoded, found by every way in; and
 * nothing but reading. */
#include "base/log.h"
#include "base/rng.h"
#include "store/analysis.h"
#include "store/internal.h"
#include "store/query.h"
#include "store/sample.h"
#include "store/trace/encode.h"
#include "store_fixture.h"

enum { PROCESSES = 6, CALLS = 3000, APIS = 10 };

/* What was put in, for comparison: process i (id i + 1) of analysis i / 2 + 1. */
struct world {
    uint32_t ids[APIS];
    struct ms_trace_call calls[PROCESSES][CALLS];
    size_t counts[PROCESSES];
};

static struct world world;

static void fill_process(struct ms_corpus *corpus, struct ms_trace_encoder *encoder, size_t i,
                         int64_t analysis, struct ms_rng *rng)
{
    struct ms_error err;
    struct ms_buf trace;
    world.counts[i] = i == 3 ? 0 : CALLS - 100 * i;
    for (size_t k = 0; k < world.counts[i]; k++) {
        struct ms_trace_call *call = &world.calls[i][k];
        /* API 9 only occurs in process 5. */
        call->api = world.ids[ms_rng_below(rng, i == 4 ? APIS : APIS - 1)];
        call->tid = ms_rng_below(rng, 3) ? 100 + ms_rng_below(rng, 2) : MS_TID_NONE;
        call->time_us = ms_rng_below(rng, 4) ? (int64_t)(1000 * k) : MS_TIME_NONE;
        call->repeated = ms_rng_below(rng, 10) ? 0 : ms_rng_below(rng, 5);
        assert_ok(ms_trace_encoder_add(encoder, call, &err), &err);
    }
    struct ms_process_row process = {.analysis = analysis,
                                     .ord = (int64_t)i % 2,
                                     .pid = 1000 + i,
                                     .first_seen_us = MS_TIME_NONE,
                                     .tracked = true,
                                     .calls = ms_trace_encoder_calls(encoder),
                                     .calls_expanded = ms_trace_encoder_expanded(encoder)};
    ms_buf_init(&trace, 1 << 24);
    assert_ok(ms_trace_encoder_finish(encoder, &trace, &err), &err);
    process.trace = ms_span_of(trace.data, trace.len);
    assert_ok(ms_process_insert(corpus, &process, &err), &err);
    ms_buf_release(&trace);
}

static int set_up(void **state)
{
    if (fixture_set_up(state) != 0)
        return -1;
    struct ms_corpus *corpus = ((struct fixture *)*state)->corpus;
    struct ms_trace_encoder *encoder;
    struct ms_error err;
    struct ms_rng rng;
    ms_rng_init(&rng, 5, 0, 0);
    assert_ok(ms_trace_encoder_new(&encoder, &err), &err);
    assert_ok(ms_corpus_begin(corpus, &err), &err);
    for (unsigned i = 0; i < APIS; i++) {
        char name[16];
        int n = snprintf(name, sizeof name, "Api%u", i);
        assert_ok(ms_api_intern(corpus, i % 2 ? MS_API_CALL : MS_API_SYSCALL,
                                ms_span_of(name, (size_t)n), ms_span_of("cat", 3), &world.ids[i],
                                &err),
                  &err);
    }
    for (uint8_t a = 0; a < PROCESSES / 2; a++) {
        struct ms_sample sample = {.has_md5 = true, .size = -1, .machine = -1};
        struct ms_analysis analysis = {.sandbox = "cape", .state = "ok"};
        bool inserted;
        int64_t id;
        memset(sample.digests.md5, a, 16);
        if (a != 2) /* the last belongs to nobody */
            assert_ok(ms_sample_upsert(corpus, &sample, 0, &analysis.sample, &inserted, &err),
                      &err);
        assert_ok(ms_analysis_insert(corpus, &analysis, 1, 0, &id, &err), &err);
        fill_process(corpus, encoder, (size_t)a * 2, id, &rng);
        fill_process(corpus, encoder, (size_t)a * 2 + 1, id, &rng);
    }
    assert_ok(ms_corpus_commit(corpus, &err), &err);
    ms_trace_encoder_free(encoder);
    return 0;
}

#define world_test(function) cmocka_unit_test_setup_teardown(function, set_up, fixture_tear_down)

static enum ms_status keep_head(void *ctx, const char *const *names, int count,
                                struct ms_error *err)
{
    (void)ctx;
    (void)err;
    for (int i = 0; i < count; i++)
        assert_non_null(names[i]);
    return MS_OK;
}

/* Rows as text: fields by '|', rows by ' '. */
static enum ms_status keep_row(void *ctx, const struct ms_value *values, int count,
                               struct ms_error *err)
{
    (void)err;
    for (int i = 0; i < count; i++) {
        if (i)
            (void)ms_buf_append_byte(ctx, '|');
        if (values[i].kind == MS_VALUE_INT)
            (void)ms_buf_printf(ctx, "%lld", (long long)values[i].integer);
        else if (values[i].kind == MS_VALUE_REAL)
            (void)ms_buf_printf(ctx, "%g", values[i].real);
        else if (values[i].kind == MS_VALUE_NULL)
            (void)ms_buf_append_text(ctx, "-");
        else
            (void)ms_buf_append(ctx, values[i].bytes.data, values[i].bytes.len);
    }
    return ms_buf_append_byte(ctx, ' ');
}

static enum ms_status run(struct ms_corpus *corpus, const char *sql, struct ms_buf *out,
                          struct ms_error *err)
{
    struct ms_query_sink sink = {out, keep_head, keep_row};
    ms_buf_clear(out);
    return ms_query_run(corpus, sql, 20000, &sink, err);
}

static void expect(void **state, const char *sql, const char *rows)
{
    struct ms_corpus *corpus = ((struct fixture *)*state)->corpus;
    struct ms_error err;
    struct ms_buf out;
    ms_buf_init(&out, 64 << 20);
    assert_ok(run(corpus, sql, &out, &err), &err);
    assert_string_equal(ms_buf_text(&out), rows);
    ms_buf_release(&out);
}

/* One line of a call as the tests below select it. */
static void append_call(struct ms_buf *out, size_t process, size_t k)
{
    const struct ms_trace_call *call = &world.calls[process][k];
    unsigned api = 0;
    while (world.ids[api] != call->api)
        api++;
    if (process < 4)
        (void)ms_buf_printf(out, "%zu|", process / 2 + 1);
    else
        (void)ms_buf_append_text(out, "-|");
    (void)ms_buf_printf(out, "%zu|%zu|Api%u|", process + 1, k, api);
    if (call->tid == MS_TID_NONE)
        (void)ms_buf_append_text(out, "-|");
    else
        (void)ms_buf_printf(out, "%llu|", (unsigned long long)call->tid);
    if (call->time_us == MS_TIME_NONE)
        (void)ms_buf_append_text(out, "-");
    else
        (void)ms_buf_printf(out, "%lld", (long long)call->time_us);
    (void)ms_buf_printf(out, "|%llu ", (unsigned long long)call->repeated);
}

static void test_all_rows(void **state)
{
    struct ms_buf all;
    ms_buf_init(&all, 64 << 20);
    for (size_t i = 0; i < PROCESSES; i++)
        for (size_t k = 0; k < world.counts[i]; k++)
            append_call(&all, i, k);
    expect(state, "SELECT * FROM calls", ms_buf_text(&all));
    expect(state, "SELECT * FROM calls ORDER BY process, seq", ms_buf_text(&all));
    ms_buf_release(&all);
}

static void test_push_down(void **state)
{
    struct ms_buf all;
    ms_buf_init(&all, 64 << 20);
    for (size_t k = 0; k < world.counts[2]; k++)
        append_call(&all, 2, k);
    expect(state, "SELECT * FROM calls WHERE process = 3", ms_buf_text(&all));
    expect(state, "SELECT * FROM calls WHERE sample = 2", ms_buf_text(&all));
    expect(state, "SELECT * FROM calls WHERE analysis = 2", ms_buf_text(&all));
    expect(state, "SELECT c.* FROM process p JOIN calls c ON c.process = p.id WHERE p.pid = 1002",
           ms_buf_text(&all));
    expect(state, "SELECT * FROM calls WHERE process = 3 AND sample = 1", "");
    expect(state, "SELECT * FROM calls WHERE process = 99", "");
    expect(state, "SELECT * FROM calls WHERE process = NULL", "");
    expect(state, "SELECT * FROM calls WHERE process = 'x'", "");
    expect(state, "SELECT count(*) FROM calls WHERE process IN (3, 4, 3)", "2800 ");
    ms_buf_clear(&all);
    append_call(&all, 2, 7);
    expect(state, "SELECT * FROM calls WHERE process = '3' AND seq = 7", ms_buf_text(&all));
    ms_buf_release(&all);
}

/* Counts of API `api` in process i, or in all of them (i = PROCESSES). */
static unsigned count_api(size_t api, size_t i)
{
    unsigned n = 0;
    for (size_t p = 0; p < PROCESSES; p++)
        for (size_t k = 0; k < world.counts[p]; k++)
            n += (i == PROCESSES || p == i) && world.calls[p][k].api == world.ids[api];
    return n;
}

static void test_by_api(void **state)
{
    char rows[64];
    assert_true(count_api(9, PROCESSES) > 0 && count_api(9, 4) == count_api(9, PROCESSES));
    snprintf(rows, sizeof rows, "%u ", count_api(1, PROCESSES));
    expect(state, "SELECT count(*) FROM calls WHERE api = 'Api1'", rows);
    snprintf(rows, sizeof rows, "%u ", count_api(1, 2));
    expect(state, "SELECT count(*) FROM calls WHERE api = 'Api1' AND process = 3", rows);
    snprintf(rows, sizeof rows, "5|%u ", count_api(9, PROCESSES));
    expect(state, "SELECT process, count(*) FROM calls WHERE api = 'Api9' GROUP BY process", rows);
    expect(state, "SELECT count(*) FROM calls WHERE api = 'api9'", "0 ");
    expect(state, "SELECT count(*) FROM calls WHERE api = 'nothing'", "0 ");
    expect(state, "SELECT count(*) FROM calls WHERE api_id = 3.5", "0 ");
    expect(state, "SELECT count(*) FROM calls WHERE api_id = -1", "0 ");
    snprintf(rows, sizeof rows, "%u ", count_api(9, PROCESSES));
    expect(state, "SELECT count(*) FROM calls WHERE api = 'API9' COLLATE NOCASE", rows);
    snprintf(rows, sizeof rows, "%u ", count_api(9, PROCESSES) + count_api(1, PROCESSES));
    expect(state, "SELECT count(*) FROM calls WHERE api IN ('Api9', 'Api1')", rows);
    expect(state,
           "SELECT count(*) FROM calls JOIN api ON api.id = calls.api_id"
           " WHERE api.name IN ('Api9', 'Api1')",
           rows);
    expect(state, "SELECT DISTINCT space, category FROM calls ORDER BY 1", "0|cat 1|cat ");
}

static void test_seq(void **state)
{
    struct ms_buf all;
    ms_buf_init(&all, 64 << 20);
    for (size_t k = 100; k < 110; k++)
        append_call(&all, 2, k);
    static const char *const bounds[] = {"seq >= 100 AND seq < 110",
                                         "seq > 99 AND seq <= 109",
                                         "seq BETWEEN 100 AND 109",
                                         "seq >= 100.0 AND seq < 109.5",
                                         "seq > '99' AND seq < 110",
                                         "seq >= 1 AND seq > 99 AND seq <= 500 AND seq < 110",
                                         "seq IN (100,101,102,103,104,105,106,107,108,109)"};
    for (size_t i = 0; i < sizeof bounds / sizeof *bounds; i++) {
        char sql[200];
        snprintf(sql, sizeof sql, "SELECT * FROM calls WHERE process = 3 AND sample = 2 AND %s",
                 bounds[i]);
        expect(state, sql, ms_buf_text(&all));
    }
    ms_buf_release(&all);
    expect(state, "SELECT count(*), min(seq), max(seq) FROM calls WHERE seq >= 2950",
           "50|2950|2999 ");
    expect(state, "SELECT count(api), min(seq), max(seq) FROM calls WHERE seq >= 2950",
           "50|2950|2999 ");
    expect(state, "SELECT count(api) FROM calls WHERE seq < 2", "10 ");
    expect(state, "SELECT count(api) FROM calls WHERE seq < 0 OR seq = -1", "0 ");
    expect(state, "SELECT count(api) FROM calls WHERE seq = 9223372036854775807", "0 ");
    expect(state, "SELECT count(api) FROM calls WHERE seq > -9223372036854775807", "13800 ");
    expect(state, "SELECT count(api) FROM calls WHERE seq >= NULL", "0 ");
    expect(state, "SELECT count(*) FROM calls WHERE seq <= 9223372036854775807 AND process = 1",
           "3000 ");
    expect(state,
           "SELECT count(*) FROM calls a JOIN calls b ON b.process = a.process"
           " AND b.seq = a.seq + 1 WHERE a.process = 2 AND a.seq < 40",
           "40 ");
    /* Equal on all that is looked up, and on what contradicts it. */
    expect(state,
           "SELECT count(*) FROM calls WHERE process = 3 AND analysis = 2 AND sample = 2"
           " AND seq < 9",
           "9 ");
    expect(state, "SELECT count(*) FROM calls WHERE process = 3 AND analysis = 1", "0 ");
    expect(state,
           "SELECT s.id, count(*) FROM sample s JOIN process p JOIN calls c"
           " ON c.sample = s.id AND c.process = p.id GROUP BY s.id",
           "1|5900 2|2800 ");
}

/* Counts that come without a row a call must be those that a row a call gives. */
static void test_groups(void **state)
{
    static const char *const pairs[][2] = {
        {"SELECT api, count(*) FROM calls GROUP BY api",
         "SELECT api, count(*) FROM calls GROUP BY api || ''"},
        {"SELECT api, count(*) FROM calls GROUP BY api ORDER BY 2 DESC, 1",
         "SELECT api, count(*) FROM calls GROUP BY api || '' ORDER BY 2 DESC, 1"},
        {"SELECT api_id, count(*), min(api), max(space) FROM calls GROUP BY api_id",
         "SELECT api_id, count(*), min(api), max(space) FROM calls GROUP BY api_id + 0"},
        {"SELECT DISTINCT api FROM calls ORDER BY api",
         "SELECT DISTINCT api || '' FROM calls ORDER BY 1"},
        {"SELECT DISTINCT api_id FROM calls ORDER BY api_id",
         "SELECT DISTINCT api_id + 0 FROM calls ORDER BY 1"},
        {"SELECT api FROM calls ORDER BY api", "SELECT api FROM calls ORDER BY api || ''"},
        {"SELECT api FROM calls ORDER BY api DESC LIMIT 9",
         "SELECT api FROM calls ORDER BY api || '' DESC LIMIT 9"},
        {"SELECT count(DISTINCT api) FROM calls", "SELECT count(DISTINCT api || '') FROM calls"},
        {"SELECT api, count(*), sum(tid) FROM calls GROUP BY api",
         "SELECT api || '', count(*), sum(tid) FROM calls GROUP BY 1"},
        {"SELECT api, count(*) FROM calls WHERE process = 3 GROUP BY api",
         "SELECT api || '', count(*) FROM calls WHERE process = 3 GROUP BY 1"},
        {"SELECT category, count(*) FROM calls GROUP BY category",
         "SELECT category || '', count(*) FROM calls GROUP BY 1"},
        {"SELECT api, count(*) FROM calls GROUP BY api HAVING count(*) > 700",
         "SELECT api || '', count(*) FROM calls GROUP BY 1 HAVING count(*) > 700"}};
    struct ms_corpus *corpus = ((struct fixture *)*state)->corpus;
    struct ms_error err;
    struct ms_buf rows;
    ms_buf_init(&rows, 64 << 20);
    for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++) {
        assert_ok(run(corpus, pairs[i][1], &rows, &err), &err);
        assert_true(rows.len > 0);
        expect(state, pairs[i][0], ms_buf_text(&rows));
    }
    assert_int_equal(run(corpus, "SELECT api, max(rowid) FROM calls GROUP BY api", &rows, &err),
                     MS_E_USAGE);
    assert_non_null(strstr(err.text, "no rowid"));
    ms_buf_release(&rows);
}

static void test_counts(void **state)
{
    expect(state, "SELECT count(*) FROM calls", "13800 ");
    expect(state,
           "SELECT (SELECT count(*) FROM calls) = (SELECT sum(calls) FROM process),"
           " (SELECT sum(1 + repeated) FROM calls) ="
           " (SELECT sum(calls_expanded) FROM process)",
           "1|1 ");
    expect(state, "SELECT process, pid, count(*), max(seq) FROM calls GROUP BY process",
           "1|1000|3000|2999 2|1001|2900|2899 3|1002|2800|2799 5|1004|2600|2599 6|1005|2500|2499 ");
    /* Groups and orders that need no sorting, and some that do. */
    expect(state, "SELECT process FROM calls GROUP BY process ORDER BY count(*) DESC, 1 LIMIT 2",
           "1 2 ");
    expect(state, "SELECT sample, count(*) FROM calls GROUP BY sample ORDER BY 2 DESC",
           "1|5900 -|5100 2|2800 ");
    expect(state, "SELECT sample, process, count(*) FROM calls GROUP BY sample, process",
           "-|5|2600 -|6|2500 1|1|3000 1|2|2900 2|3|2800 ");
    expect(state, "SELECT DISTINCT analysis, sample FROM calls ORDER BY analysis DESC",
           "3|- 2|2 1|1 ");
    expect(state, "SELECT sample, process, seq FROM calls ORDER BY sample, process, seq LIMIT 1",
           "-|5|0 ");
    expect(state, "SELECT sample, process, seq FROM calls ORDER BY sample DESC, seq DESC LIMIT 1",
           "2|3|2799 ");
    expect(state, "SELECT process, seq FROM calls ORDER BY process DESC LIMIT 1", "6|0 ");
    expect(state, "SELECT count(DISTINCT c.rowid) FROM calls c", "13800 ");
    /* Two cursors at once over the same table. */
    expect(state,
           "SELECT count(*) FROM calls a JOIN calls b ON b.process = a.process"
           " AND b.seq = a.seq WHERE a.process = 1 AND a.seq < 5 AND a.api = b.api",
           "5 ");
}

static void test_damaged_trace(void **state)
{
    struct fixture *fixture = *state;
    struct ms_corpus *corpus = fixture->corpus;
    struct ms_error err;
    struct ms_buf out;
    ms_buf_init(&out, 64 << 20);
    assert_ok(ms_db_exec(corpus, "UPDATE process SET trace = x'0001' WHERE id = 3", &err), &err);
    assert_int_equal(run(corpus, "SELECT max(repeated) FROM calls", &out, &err), MS_E_STORE);
    assert_non_null(strstr(err.text, "process 3"));
    assert_int_equal(run(corpus, "SELECT api FROM calls WHERE api = 'Api1'", &out, &err),
                     MS_E_STORE);
    /* The others are still there. */
    assert_ok(run(corpus, "SELECT count(api) FROM calls WHERE process = 5", &out, &err), &err);
    assert_string_equal(ms_buf_text(&out), "2600 ");
    /* An id without a name is NULL and ends nothing. */
    assert_ok(ms_db_exec(corpus, "DELETE FROM api WHERE name = 'Api9'", &err), &err);
    fixture_reopen(fixture, MS_CORPUS_READ);
    corpus = fixture->corpus;
    assert_ok(
        run(corpus, "SELECT count(*) > 0 FROM calls WHERE process = 5 AND api IS NULL", &out, &err),
        &err);
    assert_string_equal(ms_buf_text(&out), "1 ");
    ms_buf_release(&out);
}

/* Each byte of a trace changed in turn: rows or an error, never anything else. */
static void test_mutated_traces(void **state)
{
    struct fixture *fixture = *state;
    struct ms_corpus *corpus = fixture->corpus;
    struct ms_error err;
    struct ms_buf out;
    unsigned refused = 0;
    ms_buf_init(&out, 64 << 20);
    for (int i = 1; i <= 200; i++) {
        char sql[256];
        snprintf(sql, sizeof sql,
                 "UPDATE process SET trace = (SELECT CAST(substr(trace, 1, %d) || x'%02x' ||"
                 " substr(trace, %d) AS BLOB) FROM process WHERE id = 1) WHERE id = 2",
                 i - 1, (unsigned)(i * 37) & 255, i + 1);
        assert_ok(ms_db_exec(corpus, sql, &err), &err);
        enum ms_status status =
            run(corpus, "SELECT count(api), sum(tid), sum(time) FROM calls WHERE process = 2", &out,
                &err);
        assert_true(status == MS_OK || status == MS_E_STORE || status == MS_E_USAGE);
        refused += status != MS_OK;
    }
    assert_true(refused > 150);
    ms_buf_release(&out);
}

static void test_only_reading(void **state)
{
    struct fixture *fixture = *state;
    static const char *const refused[] = {"DELETE FROM sample",
                                          "INSERT INTO api (space, name) VALUES (0, 'x')",
                                          "UPDATE sample SET size = 1 RETURNING id",
                                          "DROP TABLE sample",
                                          "CREATE TABLE x (a)",
                                          "CREATE TEMP TABLE x (a)",
                                          "CREATE TEMP VIEW x AS SELECT 1",
                                          "ATTACH ':memory:' AS x",
                                          "DETACH main",
                                          "PRAGMA journal_mode = DELETE",
                                          "PRAGMA user_version = 7",
                                          "PRAGMA query_only = OFF",
                                          "PRAGMA writable_schema = ON",
                                          "BEGIN",
                                          "SAVEPOINT x",
                                          "VACUUM",
                                          "VACUUM INTO '/tmp/x'",
                                          "REINDEX",
                                          "ANALYZE",
                                          "SELECT load_extension('x')",
                                          "SELECT readfile('/etc/passwd')",
                                          "SELECT fts3_tokenizer('simple')",
                                          "CREATE VIRTUAL TABLE x USING calls",
                                          "SELECT * FROM pragma_journal_mode",
                                          "SELECT * FROM dbstat",
                                          "SELECT 1; DELETE FROM sample",
                                          "SELECT 1; SELECT 2",
                                          "",
                                          " ; ",
                                          "-- nothing",
                                          "SELECT",
                                          "SELECT nothing FROM sample",
                                          "SELECT ?1",
                                          "SELECT 'open",
                                          "SELECT abs(-9223372036854775808)"};
    for (int reading = 0; reading < 2; reading++) {
        struct ms_buf out;
        ms_buf_init(&out, 1 << 20);
        if (reading)
            fixture_reopen(fixture, MS_CORPUS_READ);
        for (size_t i = 0; i < sizeof refused / sizeof *refused; i++) {
            struct ms_error err = {.text = ""};
            enum ms_status status = run(fixture->corpus, refused[i], &out, &err);
            if (status != MS_E_USAGE || err.text[0] == '\0')
                fail_msg("'%s' gave %s: %s", refused[i], ms_status_name(status), err.text);
        }
        ms_buf_release(&out);
    }
    expect(state, "SELECT count(*), max(size) FROM sample", "2|- ");
    assert_int_equal(access("/tmp/x", F_OK), -1);
    /* The authoriser goes with the query. */
    struct ms_error err;
    fixture_reopen(fixture, MS_CORPUS_WRITE);
    assert_ok(ms_db_exec(fixture->corpus, "UPDATE sample SET size = 1", &err), &err);
}

static void test_reading(void **state)
{
    expect(state, "SELECT 1, 2.5, 'x', NULL, x'41';", "1|2.5|x|-|A ");
    expect(state, "VALUES (1), (2) -- that is all", "1 2 ");
    expect(state,
           "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 4)"
           " SELECT group_concat(i, '') FROM n",
           "1234 ");
    expect(state, "SELECT json_extract('{\"a\": 3}', '$.a'), '{\"a\":4}' ->> 'a'", "3|4 ");
    expect(state, "SELECT name FROM pragma_table_info('alias')", "source external_id sample ");
    expect(state, "SELECT user_version > 0 FROM pragma_user_version", "1 ");
    expect(state, "SELECT count(*) > 20 FROM sqlite_schema", "1 ");
}

static void test_time_out(void **state)
{
    struct fixture *fixture = *state;
    struct ms_error err;
    struct ms_buf out;
    struct ms_query_sink sink = {&out, keep_head, keep_row};
    ms_buf_init(&out, 1 << 20);
    assert_int_equal(ms_query_run(fixture->corpus,
                                  "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n)"
                                  " SELECT count(*) FROM n",
                                  100, &sink, &err),
                     MS_E_LIMIT);
    assert_non_null(strstr(err.text, "100 ms"));
    expect(state, "SELECT 1", "1 ");
    ms_buf_release(&out);
}

/* A sink that has enough ends the query with its own status. */
static enum ms_status refuse_row(void *ctx, const struct ms_value *values, int count,
                                 struct ms_error *err)
{
    (void)values;
    (void)count;
    return ++*(int *)ctx == 3 ? ms_error_set(err, MS_E_IO, "enough") : MS_OK;
}

static void test_sink_stops(void **state)
{
    struct fixture *fixture = *state;
    struct ms_error err;
    int rows = 0;
    struct ms_query_sink sink = {&rows, keep_head, refuse_row};
    assert_int_equal(ms_query_run(fixture->corpus, "SELECT api FROM calls", 0, &sink, &err),
                     MS_E_IO);
    assert_int_equal(rows, 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        world_test(test_all_rows), world_test(test_push_down),      world_test(test_by_api),
        world_test(test_counts),   world_test(test_damaged_trace),  world_test(test_seq),
        world_test(test_groups),   world_test(test_mutated_traces), world_test(test_only_reading),
        world_test(test_reading),  world_test(test_time_out),       world_test(test_sink_stops),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
