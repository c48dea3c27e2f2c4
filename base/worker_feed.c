/* A confined job's view of an input that another job sends (ms_worker_run_fed): the bytes of its
 * frames, and its end. Believes nothing of them; starts nothing. */
#include "base/limits.h"
#include "base/worker_private.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

/* The blocks between this child and the other, and which is next; NULL: there are none. */
static uint8_t *ring;
static size_t ring_next;

void ms_worker_ring_use(uint8_t *at)
{
    ring = at;
    ring_next = 0;
}

uint8_t *ms_worker_feed_room(void)
{
    static uint8_t own[MS_WORKER_FEED_BYTES];
    return ring ? ring + ring_next * MS_WORKER_FEED_BYTES : own;
}

enum ms_status ms_worker_feed_send(struct ms_worker_out *out, size_t n)
{
    uint8_t page[MS_WORKER_RING_PAGE_BYTES - sizeof(struct ms_worker_frame_head)] = {0};
    uint32_t size = (uint32_t)n;
    if (n > MS_WORKER_FEED_BYTES)
        return MS_E_BUG;
    if (!ring)
        return ms_worker_emit(out, 1, ms_worker_feed_room(), n);
    memcpy(page, &size, sizeof size);
    ring_next = (ring_next + 1) % MS_WORKER_RING_BLOCKS;
    return ms_worker_emit(out, MS_WORKER_FRAME_BLOCK, page, sizeof page);
}

void ms_worker_feed_init(struct ms_worker_feed *self, int fd, uint64_t max_bytes)
{
    *self = (struct ms_worker_feed){.fd = fd, .max_bytes = max_bytes};
}

/* read(2) of what is there; what it failed with is in self->end. */
static enum ms_status read_some(struct ms_worker_feed *self, void *to, size_t cap, size_t *n)
{
    ssize_t got;
    do
        got = read(self->fd, to, cap);
    while (got < 0 && errno == EINTR);
    if (got < 0)
        return ms_error_set_errno(&self->end, MS_E_IO, errno, "cannot read the input");
    if (got == 0)
        return ms_error_set(&self->end, MS_REJECT, "the feeding process broke off");
    *n = (size_t)got;
    return MS_OK;
}

/* Reads n bytes; all of them, or what the feeder failed with is in self->end. Little is read ahead
 * of, much goes where it is to be. */
static enum ms_status read_all(struct ms_worker_feed *self, void *to, size_t n)
{
    enum ms_status status = MS_OK;
    for (size_t done = 0, got = 0; status == MS_OK && done < n; done += got) {
        size_t want = n - done, have = self->held_len - self->held_at;
        got = have < want ? have : want;
        memcpy((uint8_t *)to + done, self->held + self->held_at, got);
        self->held_at += got;
        if (got)
            continue;
        if (want >= sizeof self->held) {
            status = read_some(self, (uint8_t *)to + done, want, &got);
        } else {
            self->held_at = self->held_len = 0;
            status = read_some(self, self->held, sizeof self->held, &self->held_len);
        }
    }
    return status;
}

/* The feeder's own end. Its status is what it claims: one that no job may have is a bad input. */
static enum ms_status take_end(struct ms_worker_feed *self, size_t n)
{
    uint8_t bytes[sizeof(uint32_t) + MS_ERROR_TEXT_BYTES];
    uint32_t code;
    if (n < sizeof code || n >= sizeof bytes)
        return ms_error_set(&self->end, MS_REJECT, "the feeding process sent a malformed end");
    enum ms_status status = read_all(self, bytes, n);
    if (status != MS_OK)
        return status;
    memcpy(&code, bytes, sizeof code);
    self->ended = true;
    if (code == MS_OK)
        return MS_OK;
    bool known = code == MS_E_LIMIT || code == MS_E_NOMEM || code == MS_E_IO;
    self->end = (struct ms_error){.status = known ? (enum ms_status)code : MS_REJECT};
    memcpy(self->end.text, bytes + sizeof code, n - sizeof code);
    return self->end.status;
}

/* The next block of the ring: the frame says only how much is in it. */
static enum ms_status take_block(struct ms_worker_feed *self, struct ms_worker_frame_head *head)
{
    uint8_t page[MS_WORKER_RING_PAGE_BYTES - sizeof *head];
    if (!ring || head->len != sizeof page)
        return ms_error_set(&self->end, MS_REJECT, "the feeding process sent a malformed frame");
    enum ms_status status = read_all(self, page, sizeof page);
    if (status != MS_OK)
        return status;
    memcpy(&head->len, page, sizeof head->len);
    if (head->len > MS_WORKER_FEED_BYTES)
        return ms_error_set(&self->end, MS_REJECT, "the feeding process sent a malformed frame");
    self->block = ring + ring_next * MS_WORKER_FEED_BYTES;
    ring_next = (ring_next + 1) % MS_WORKER_RING_BLOCKS;
    return MS_OK;
}

/* Goes on to the next frame with bytes, or to the end. */
static enum ms_status next_frame(struct ms_worker_feed *self)
{
    while (!self->left && !self->ended) {
        struct ms_worker_frame_head head;
        enum ms_status status = read_all(self, &head, sizeof head);
        if (status != MS_OK)
            return status;
        if (head.type == MS_WORKER_FRAME_END)
            return take_end(self, head.len);
        self->block = NULL;
        if (head.type == MS_WORKER_FRAME_BLOCK) {
            status = take_block(self, &head);
            if (status != MS_OK)
                return status;
        } else if (head.type > MS_WORKER_FRAME_TYPE_MAX || head.len > MS_LIMIT_FRAME_BYTES) {
            return ms_error_set(&self->end, MS_REJECT,
                                "the feeding process sent a malformed frame");
        }
        if (head.len > self->max_bytes - self->bytes)
            return ms_error_set(&self->end, MS_E_LIMIT, "more than %llu bytes",
                                (unsigned long long)self->max_bytes);
        self->left = head.len;
        self->bytes += head.len;
    }
    return MS_OK;
}

enum ms_status ms_worker_feed_read(struct ms_worker_feed *self, void *buf, size_t cap, size_t *n,
                                   struct ms_error *err)
{
    *n = 0;
    while (*n < cap && !self->ended && self->end.status == MS_OK) {
        if (next_frame(self) != MS_OK || self->ended)
            break;
        size_t want = cap - *n < self->left ? cap - *n : self->left;
        if (self->block) {
            memcpy((uint8_t *)buf + *n, self->block, want);
            self->block += want;
        } else if (read_all(self, (uint8_t *)buf + *n, want) != MS_OK) {
            break;
        }
        self->left -= (uint32_t)want;
        *n += want;
    }
    /* What came before a fault is given first. */
    if (*n || self->end.status == MS_OK)
        return MS_OK;
    if (err)
        *err = self->end;
    return self->end.status;
}
