/* The end of a crawl: the tree as it was found, in one transaction, and that tree read back.
 * Fetches and opens nothing. */
#include "collect/crawl.h"

#include "base/clock.h"
#include "base/step.h"
#include "collect/volumes.h"
#include "store/sample.h"

#include <string.h>

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

/* What is known of the entry's bytes holds at its path too. */
static enum ms_status sight(struct ms_collect *session, const struct ms_crawl *crawl,
                            const struct ms_entry *entry, int64_t now_ms, struct ms_error *err)
{
    struct ms_span commit =
        entry->past ? ms_span_of(entry->commit_id, MS_SHA1_BYTES) : crawl->commit_id;
    return ms_blob_sight_again(session->corpus, entry->git_id, crawl->origin, entry->path, commit,
                               crawl->claim, crawl->private_, now_ms, session->intake.run, err);
}

/* The sets among the entries that were opened as sets. */
static enum ms_status write_sets(struct ms_collect *session, const struct ms_crawl *crawl,
                                 const struct ms_entries *entries, int64_t now_ms,
                                 struct ms_error *err)
{
    struct ms_volumes volumes;
    enum ms_status status = ms_volumes_find(entries, &volumes, err);
    for (size_t i = 0; i < volumes.count && status == MS_OK; i++) {
        const struct ms_entry *entry = &volumes.sets[i].entry;
        struct ms_blob blob;
        bool found;
        status = ms_blob_find(session->corpus, entry->git_id, &found, &blob, err);
        if (status != MS_OK || !found || strcmp(blob.outcome, "apart") == 0)
            continue;
        if (!entry->past)
            status =
                ms_tree_put_set(session->corpus, crawl->origin, entry->path, entry->git_id, err);
        if (status == MS_OK)
            status = sight(session, crawl, entry, now_ms, err);
    }
    ms_volumes_release(&volumes);
    return status;
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
    for (size_t i = 0; crawl->past && i < crawl->past->count && status == MS_OK; i++)
        status = sight(session, crawl, &crawl->past->items[i], now_ms, err);
    if (status == MS_OK && crawl->past)
        status = write_sets(session, crawl, crawl->past, now_ms, err);
    for (size_t i = 0; i < entries->count && status == MS_OK; i++) {
        const struct ms_entry *entry = &entries->items[i];
        status = ms_tree_put(corpus, crawl->origin, entry->path, entry->git_id, entry->size, err);
        if (status == MS_OK)
            status = sight(session, crawl, entry, now_ms, err);
    }
    if (status == MS_OK)
        status = write_sets(session, crawl, entries, now_ms, err);
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
