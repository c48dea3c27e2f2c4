/* Rows of origins on the network, and lists of them. Asks nobody. */
#include "collect/source.h"

#include "base/clock.h"
#include "base/file.h"
#include "base/limits.h"
#include "base/log.h"
#include "base/step.h"
#include "store/sample.h"

#include <string.h>

#define AGAIN_MS ((int64_t)7 * 24 * 3600 * 1000)

bool ms_source_is_due(const struct ms_collect *session, const struct ms_origin *origin,
                      const char *name)
{
    /* Not among them: a limit ends by itself, and an empty repository may be filled any day. */
    static const char *const states[] = {"gone", "legal", "blocked", "replaced"};
    int64_t now = ms_clock_wall_ms();
    char when[32];
    char shown[256];
    for (size_t i = 0; origin->state && i < sizeof states / sizeof *states; i++) {
        if (strcmp(origin->state, states[i]) != 0 || session->options->recheck ||
            origin->checked_ms > now || now - origin->checked_ms >= AGAIN_MS)
            continue;
        ms_clock_format(origin->checked_ms + AGAIN_MS, when);
        ms_log(MS_LOG_DEBUG, "%s was %s when last asked; asked again after %s (--recheck asks now)",
               ms_escape_text(name, shown, sizeof shown), states[i], when);
        return false;
    }
    return true;
}

enum ms_status ms_source_open(struct ms_collect *session, const struct ms_origin *row,
                              struct ms_origin *out, bool *changed, struct ms_error *err)
{
    struct ms_corpus *corpus = session->corpus;
    bool found = false;
    int64_t id = 0;
    enum ms_status status = MS_OK;
    *out = (struct ms_origin){.id = 0};
    *changed = false;
    if (corpus)
        status = ms_origin_find(corpus, row->kind, row->name, row->ref, &found, &id, err);
    if (status == MS_OK && found)
        status = ms_origin_get(corpus, id, out, err);
    if (status == MS_OK && found)
        *changed = out->private_ != row->private_ ||
                   (row->claim && out->claim && strcmp(out->claim, row->claim) != 0);
    if (status != MS_OK || session->intake.dry)
        return status;
    status = ms_corpus_begin(corpus, err);
    if (status == MS_OK)
        status = ms_origin_open(corpus, row, &out->id, err);
    if (status == MS_OK)
        status = ms_corpus_commit(corpus, err);
    if (status != MS_OK)
        ms_corpus_rollback(corpus);
    ms_step("collect.source.opened");
    return status;
}

enum ms_status ms_source_check_forgotten(struct ms_collect *session, const struct ms_origin *origin,
                                         bool *forgotten, struct ms_error *err)
{
    uint64_t samples = 0;
    *forgotten = false;
    if (!session->corpus)
        return MS_OK;
    enum ms_status status = ms_origin_is_forgotten(session->corpus, origin, forgotten, err);
    if (status != MS_OK || !*forgotten || session->intake.dry)
        return status;
    return ms_forget_origin(session->corpus, origin->name, session->intake.run, &samples, err);
}

enum ms_status ms_source_tell_forgotten(struct ms_collect *session, const char *name,
                                        struct ms_error *err)
{
    session->counts.origins_failed++;
    return ms_collect_tell_failure(session, name, ms_span_of(NULL, 0), NULL, "forgotten",
                                   "the origin was removed by forget and stays out", err);
}

enum ms_status ms_source_save(struct ms_collect *session, const struct ms_origin *origin,
                              const char *state, const char *reason, struct ms_error *err)
{
    struct ms_origin row = *origin;
    row.state = state;
    row.reason = reason;
    row.checked_ms = ms_clock_wall_ms();
    if (session->intake.dry)
        return MS_OK;
    enum ms_status status = ms_corpus_begin(session->corpus, err);
    if (status == MS_OK)
        status = ms_origin_update(session->corpus, &row, err);
    if (status == MS_OK)
        status = ms_corpus_commit(session->corpus, err);
    if (status != MS_OK)
        ms_corpus_rollback(session->corpus);
    return status;
}

enum ms_status ms_source_flush(struct ms_collect *session, struct ms_error *err)
{
    if (!session->same_count)
        return MS_OK;
    enum ms_status status = ms_corpus_begin(session->corpus, err);
    for (size_t i = 0; i < session->same_count && status == MS_OK; i++)
        status = ms_origin_checked(session->corpus, session->same[i], ms_clock_wall_ms(), err);
    session->same_count = 0;
    if (status == MS_OK)
        status = ms_corpus_commit(session->corpus, err);
    if (status != MS_OK)
        ms_corpus_rollback(session->corpus);
    return status;
}

enum ms_status ms_source_save_same(struct ms_collect *session, const struct ms_origin *origin,
                                   struct ms_error *err)
{
    if (session->intake.dry)
        return MS_OK;
    session->same[session->same_count++] = origin->id;
    return session->same_count == MS_COLLECT_SAME ? ms_source_flush(session, err) : MS_OK;
}

enum ms_status ms_source_foreach_line(const char *path, ms_source_line visit, void *ctx,
                                      struct ms_error *err)
{
    struct ms_buf list;
    ms_buf_init(&list, MS_LIMIT_LIST_BYTES);
    enum ms_status status = ms_file_read(path, &list, err);
    if (status == MS_E_IO) {
        err->status = MS_E_INPUT;
        status = MS_E_INPUT;
    }
    struct ms_span text = ms_span_of(list.data, list.len);
    for (uint64_t number = 1; text.len && status == MS_OK; number++) {
        const uint8_t *end = memchr(text.data, '\n', text.len);
        size_t n = end ? (size_t)(end - text.data) : text.len;
        status = visit(ctx, ms_span_of(text.data, n), number, err);
        n += end != NULL;
        text = ms_span_of(text.data + n, text.len - n);
    }
    ms_buf_release(&list);
    return status;
}
