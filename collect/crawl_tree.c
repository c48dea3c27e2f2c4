/* The end of a crawl: the tree as it was found, in one transaction, and that tree read back.
 * Fetches and opens nothing. */
#include "collect/crawl.h"

#include "base/clock.h"
#include "base/step.h"
#include "store/sample.h"

static enum ms_status add_from_tree(void *ctx, struct ms_span path, const uint8_t git_id[20],
                                    int64_t size, struct ms_error *err)
{
    return ms_entries_add(ctx, path, git_id, size, err);
}

enum ms_status ms_crawl_last_tree(struct ms_collect *session, int64_t origin,
                                  struct ms_entries *entries, struct ms_error *err)
{
    return ms_tree_foreach(session->corpus, origin, add_from_tree, entries, err);
}

static enum ms_status write_tree(struct ms_collect *session, const struct ms_crawl *crawl,
                                 const struct ms_entries *entries, const struct ms_origin *origin,
                                 struct ms_error *err)
{
    struct ms_corpus *corpus = session->corpus;
    int64_t now_ms = ms_clock_wall_ms();
    enum ms_status status = ms_tree_replace_begin(corpus, crawl->origin, err);
    /* Blobs of earlier commits first, so that today's place of a program wins; gone when the tree
     * is closed. */
    for (size_t i = 0; crawl->past && i < crawl->past->count && status == MS_OK; i++) {
        const struct ms_entry *entry = &crawl->past->items[i];
        status = ms_blob_sight_again(corpus, entry->git_id, crawl->origin, entry->path,
                                     ms_span_of(entry->commit_id, MS_SHA1_BYTES), crawl->claim,
                                     crawl->private_, now_ms, session->intake.run, err);
    }
    for (size_t i = 0; i < entries->count && status == MS_OK; i++) {
        const struct ms_entry *entry = &entries->items[i];
        status = ms_tree_put(corpus, crawl->origin, entry->path, entry->git_id, entry->size, err);
        if (status == MS_OK)
            status = ms_blob_sight_again(corpus, entry->git_id, crawl->origin, entry->path,
                                         crawl->commit_id, crawl->claim, crawl->private_, now_ms,
                                         session->intake.run, err);
    }
    if (status == MS_OK)
        status = ms_tree_replace_end(corpus, crawl->origin, now_ms, err);
    return status == MS_OK ? ms_origin_update(corpus, origin, err) : status;
}

enum ms_status ms_crawl_finish(struct ms_collect *session, const struct ms_crawl *crawl,
                               const struct ms_entries *entries, const struct ms_origin *origin,
                               struct ms_error *err)
{
    if (session->intake.dry)
        return MS_OK;
    enum ms_status status = ms_corpus_begin(session->corpus, err);
    if (status == MS_OK)
        status = write_tree(session, crawl, entries, origin, err);
    if (status == MS_OK && crawl->also)
        status = crawl->also(crawl->also_ctx, err);
    ms_step("collect.crawl.tree");
    if (status == MS_OK)
        status = ms_corpus_commit(session->corpus, err);
    if (status != MS_OK)
        ms_corpus_rollback(session->corpus);
    ms_step("collect.crawl.finished");
    return status;
}
