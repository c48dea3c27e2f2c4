/* Takes git trees and commits apart. Reads bytes; walks nothing. */
#include "collect/pack.h"

#include <string.h>

enum { MODE_DIGITS_MAX = 7 };

static enum ms_status damaged(struct ms_error *err, const char *what)
{
    return ms_error_set(err, MS_REJECT, "a tree of the repository is damaged: %s", what);
}

enum ms_status ms_tree_item_take(struct ms_span *tree, struct ms_tree_item *out, bool *end,
                                 struct ms_error *err)
{
    struct ms_span name, id;
    size_t digits = 0;
    *end = tree->len == 0;
    *out = (struct ms_tree_item){.mode = 0};
    if (*end)
        return MS_OK;
    while (digits < tree->len && tree->data[digits] >= '0' && tree->data[digits] <= '7' &&
           digits < MODE_DIGITS_MAX)
        out->mode = out->mode << 3 | (uint32_t)(tree->data[digits++] - '0');
    if (!digits || digits >= tree->len || tree->data[digits] != ' ')
        return damaged(err, "an entry without a mode");
    *tree = ms_span_of(tree->data + digits + 1, tree->len - digits - 1);
    const uint8_t *nul = tree->len ? memchr(tree->data, 0, tree->len) : NULL;
    if (!nul || nul == tree->data)
        return damaged(err, "an entry without a name");
    if (!ms_span_take(tree, (uint64_t)(nul - tree->data), &name) ||
        memchr(name.data, '/', name.len))
        return damaged(err, "a name with a slash");
    *tree = ms_span_of(tree->data + 1, tree->len - 1);
    if (!ms_span_take(tree, MS_SHA1_BYTES, &id))
        return damaged(err, "an entry that is cut short");
    out->name = name;
    memcpy(out->id, id.data, MS_SHA1_BYTES);
    return MS_OK;
}

/* "word HEX\n" at the front. */
static bool take_id_line(struct ms_span *text, const char *word, uint8_t id[MS_SHA1_BYTES])
{
    size_t n = strlen(word);
    char hex[2 * MS_SHA1_BYTES + 1];
    size_t line = n + 2 * MS_SHA1_BYTES + 1;
    if (text->len < line || memcmp(text->data, word, n) != 0 || text->data[line - 1] != '\n')
        return false;
    memcpy(hex, text->data + n, 2 * MS_SHA1_BYTES);
    hex[2 * MS_SHA1_BYTES] = '\0';
    if (!ms_hex_decode(hex, MS_SHA1_BYTES, id))
        return false;
    *text = ms_span_of(text->data + line, text->len - line);
    return true;
}

enum ms_status ms_commit_read(struct ms_span commit, uint8_t tree[MS_SHA1_BYTES],
                              enum ms_status (*parent)(void *ctx, const uint8_t id[MS_SHA1_BYTES],
                                                       struct ms_error *err),
                              void *ctx, struct ms_error *err)
{
    uint8_t id[MS_SHA1_BYTES];
    enum ms_status status = MS_OK;
    if (!take_id_line(&commit, "tree ", tree))
        return ms_error_set(err, MS_REJECT, "a commit of the repository names no tree");
    while (status == MS_OK && take_id_line(&commit, "parent ", id))
        status = parent(ctx, id, err);
    return status;
}
