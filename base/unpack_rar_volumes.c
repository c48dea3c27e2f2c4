/* RAR volumes in the walk: which password opens their headers, and what is told of a set that is
 * not whole. Joining is base/rar_volumes' business. */
#include "base/limits.h"
#include "base/rar_volumes.h"
#include "base/unpack_volumes.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

struct attempt {
    struct ms_walk *walk;
    const struct ms_unpack_input *input;
    struct ms_walk_memory *out;
    struct ms_rar_joined joined;
    const char *why;
};

/* Both formats in turn. */
static enum ms_decrypt_answer join(struct attempt *self, struct ms_span password)
{
    struct ms_rar_volumes volumes = {.fd = self->input->fd,
                                     .part_bytes = self->input->part_bytes,
                                     .part_count = self->input->part_count,
                                     .cache = self->walk->keys,
                                     .password = password};
    uint64_t room = MS_LIMIT_UNPACK_HELD_BYTES - self->walk->held_bytes;
    enum ms_decrypt_answer answer =
        ms_rar5_join(&volumes, self->out->fd, room, &self->joined, &self->why);
    if (answer == MS_DECRYPT_NOT_ENCRYPTED)
        answer = ms_rar4_join(&volumes, self->out->fd, room, &self->joined, &self->why);
    return answer;
}

/* Without a password first: most sets have plain headers. */
static enum ms_decrypt_answer join_with_any(struct attempt *self)
{
    struct ms_walk *walk = self->walk;
    enum ms_decrypt_answer answer = join(self, ms_span_of("", 0));
    for (size_t i = 0; i < walk->password_count && answer == MS_DECRYPT_WRONG_PASSWORD; i++) {
        struct ms_span password = walk->passwords[i];
        if (!password.len || memchr(password.data, 0, password.len))
            continue;
        if (ftruncate(self->out->fd, 0) != 0)
            return MS_DECRYPT_LIMIT_MEMORY;
        answer = join(self, password);
        if (answer == MS_DECRYPT_DONE)
            walk->last_password = (ptrdiff_t)i;
    }
    return answer;
}

static enum ms_status tell(struct attempt *self, enum ms_decrypt_answer answer,
                           struct ms_error *err)
{
    char text[128];
    enum ms_unpack_fault fault = MS_UNPACK_CORRUPT;
    if (answer == MS_DECRYPT_WRONG_PASSWORD) {
        (void)snprintf(text, sizeof text, "the headers are encrypted, %zu passwords tried",
                       self->walk->password_count);
        return ms_walk_fault(self->walk, MS_UNPACK_NEED_PASSWORD, text, err);
    }
    if (answer == MS_DECRYPT_UNSUPPORTED)
        fault = MS_UNPACK_UNSUPPORTED;
    else if (answer == MS_DECRYPT_LIMIT_WORK)
        fault = MS_UNPACK_LIMIT_WORK;
    else if (answer == MS_DECRYPT_LIMIT_MEMORY)
        fault = MS_UNPACK_LIMIT_MEMORY;
    return ms_walk_fault(self->walk, fault, self->why, err);
}

enum ms_status ms_walk_join_rar(struct ms_walk *walk, const struct ms_unpack_input *input,
                                struct ms_walk_memory *out, bool *mine, enum ms_join *how,
                                struct ms_error *err)
{
    struct attempt attempt = {.walk = walk, .input = input, .out = out, .why = ""};
    if (!walk->keys)
        walk->keys = ms_decrypt_keys_new();
    if (!walk->keys)
        return ms_error_set(err, MS_E_NOMEM, "out of memory");
    enum ms_status status = ms_walk_memory_open(out, err);
    if (status != MS_OK)
        return status;
    enum ms_decrypt_answer answer = join_with_any(&attempt);
    *mine = answer != MS_DECRYPT_NOT_ENCRYPTED;
    *how = MS_JOIN_NONE;
    if (!*mine) {
        ms_walk_memory_close(walk, out);
        return MS_OK;
    }
    if (answer != MS_DECRYPT_DONE)
        return tell(&attempt, answer, err);
    /* Held, and not among the bytes the blob gives. */
    out->bytes = attempt.joined.bytes;
    walk->held_bytes += out->bytes;
    if (attempt.joined.incomplete)
        status = ms_walk_fault(walk, MS_UNPACK_INCOMPLETE, "a volume of the set is missing", err);
    if (attempt.joined.members)
        *how = MS_JOIN_DONE;
    return status;
}
