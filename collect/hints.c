/* Finds and reads the files that may name a password. */
#define _GNU_SOURCE
#include "collect/hints.h"

#include "base/file.h"

#include <string.h>
#include <unistd.h>

enum { HINT_BYTES = 64 << 10, /* a README or password file that is read */ HINTS_MAX = 4096 };

struct ms_hint {
    const struct ms_entry *entry;
    struct ms_span folder;
    bool readme;
    bool loaded;
    bool whole; /* text is all of it */
    struct ms_span text;
};

static void split_path(struct ms_span path, struct ms_span *folder, struct ms_span *name)
{
    const uint8_t *slash = path.len ? memrchr(path.data, '/', path.len) : NULL;
    size_t n = slash ? (size_t)(slash - path.data) : 0;
    *folder = ms_span_of(path.data, n);
    *name = slash ? ms_span_of(slash + 1, path.len - n - 1) : path;
}

enum ms_status ms_hints_init(struct ms_hints *self, struct ms_crawl *crawl,
                             const struct ms_entries *entries, struct ms_arena *arena,
                             struct ms_error *err)
{
    *self = (struct ms_hints){.crawl = crawl, .arena = arena};
    self->items = ms_arena_alloc_array(arena, HINTS_MAX, sizeof *self->items);
    if (!self->items)
        return ms_error_set(err, MS_E_NOMEM, "out of memory");
    for (size_t i = 0; i < entries->count && self->count < HINTS_MAX; i++) {
        const struct ms_entry *entry = &entries->items[i];
        struct ms_span folder, name;
        split_path(entry->path, &folder, &name);
        bool readme = ms_password_is_readme(name);
        if ((readme || ms_password_is_beside(name)) && entry->size <= HINT_BYTES)
            self->items[self->count++] =
                (struct ms_hint){.entry = entry, .folder = folder, .readme = readme};
    }
    return MS_OK;
}

/* The hints for a file: password files and READMEs of its folder, and the READMEs at the top. */
static size_t hints_for(const struct ms_hints *self, const struct ms_entry *entry,
                        struct ms_hint *out[MS_HINTS_A_FILE])
{
    struct ms_span folder, name;
    size_t count = 0;
    split_path(entry->path, &folder, &name);
    for (size_t i = 0; i < self->count && count < MS_HINTS_A_FILE; i++) {
        struct ms_hint *hint = &self->items[i];
        bool here = ms_span_equal(hint->folder, folder);
        if (hint->entry != entry && (here || (hint->readme && hint->folder.len == 0)))
            out[count++] = hint;
    }
    return count;
}

size_t ms_hints_ids(const struct ms_hints *self, const struct ms_entry *entry,
                    uint8_t ids[MS_HINTS_A_FILE][MS_SHA1_BYTES])
{
    struct ms_hint *hints[MS_HINTS_A_FILE];
    size_t count = hints_for(self, entry, hints);
    for (size_t i = 0; i < count; i++)
        memcpy(ids[i], hints[i]->entry->git_id, MS_SHA1_BYTES);
    return count;
}

static void keep_text(struct ms_hints *self, struct ms_hint *hint, int fd, uint64_t size)
{
    char *text = ms_arena_alloc(self->arena, HINT_BYTES);
    ssize_t n = text ? pread(fd, text, HINT_BYTES, 0) : -1;
    hint->loaded = true;
    hint->text = ms_span_of(text, n > 0 ? (size_t)n : 0);
    hint->whole = n >= 0 && (uint64_t)n == size;
}

static struct ms_hint *hint_of(const struct ms_hints *self, const struct ms_entry *entry)
{
    for (size_t i = 0; i < self->count; i++)
        if (self->items[i].entry == entry)
            return &self->items[i];
    return NULL;
}

enum ms_status ms_hints_fetch(struct ms_hints *self, const struct ms_entry *entry, int *fd,
                              uint64_t *size, const char **outcome, struct ms_error *err)
{
    struct ms_hint *hint = hint_of(self, entry);
    if (hint && hint->whole) {
        enum ms_status status = ms_file_memory("hint", fd, err);
        *size = hint->text.len;
        return status == MS_OK ? ms_file_write_all(*fd, hint->text.data, hint->text.len, err)
                               : status;
    }
    enum ms_status status =
        self->crawl->fetch(self->crawl->fetch_ctx, entry, fd, size, outcome, err);
    if (status == MS_OK && hint)
        keep_text(self, hint, *fd, *size);
    return status;
}

static enum ms_status load(struct ms_hints *self, struct ms_hint *hint, struct ms_error *err)
{
    int fd = -1;
    uint64_t size;
    const char *outcome = NULL;
    struct ms_error why;
    if (hint->loaded)
        return MS_OK;
    self->crawl->aside = true;
    enum ms_status status =
        self->crawl->fetch(self->crawl->fetch_ctx, hint->entry, &fd, &size, &outcome, &why);
    self->crawl->aside = false;
    if (status == MS_OK) {
        keep_text(self, hint, fd, size);
    } else if (status == MS_REJECT) {
        hint->loaded = true; /* the file's own turn reports it */
        status = MS_OK;
    } else if (err) {
        *err = why;
    }
    if (fd >= 0)
        (void)close(fd);
    return status;
}

enum ms_status ms_hints_add(struct ms_hints *self, const struct ms_entry *entry,
                            struct ms_passwords *out, struct ms_error *err)
{
    struct ms_hint *hints[MS_HINTS_A_FILE];
    size_t count = hints_for(self, entry, hints);
    enum ms_status status = MS_OK;
    for (size_t i = 0; i < count && status == MS_OK; i++) {
        status = load(self, hints[i], err);
        if (status == MS_OK)
            status = hints[i]->readme
                         ? ms_passwords_add_readme(out, hints[i]->text, err)
                         : ms_passwords_add_lines(out, MS_PASSWORD_BESIDE, hints[i]->text, err);
    }
    return status;
}
