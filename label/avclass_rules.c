/* AVClass's data files, compiled: each word they name with the tags it gives as a token, expansions
 * included. Judges no sample. */
#include "base/limits.h"
#include "label/avclass_private.h"

#include <stdlib.h>

enum { NONE = -1 };

struct edge {
    uint32_t to;
    int64_t next;
};

/* What lines say of a word, as lists of edges. */
struct heads {
    int64_t tagging, expansion, prefix;
    uint32_t mark; /* one more than the word whose tags hold this one */
};

struct build {
    struct ms_avclass *engine;
    struct heads *heads; /* one a word */
    size_t head_cap;
    struct edge *edges;
    size_t edge_count, edge_cap;
    size_t id_count, id_cap;
};

/* What Python's str.split and str.strip take for white space, within ASCII. */
static bool is_space(uint8_t c)
{
    return c == ' ' || (c >= 0x09 && c <= 0x0d) || (c >= 0x1c && c <= 0x1f);
}

static struct ms_span strip(struct ms_span text)
{
    while (text.len && is_space(text.data[0])) {
        text.data++;
        text.len--;
    }
    while (text.len && is_space(text.data[text.len - 1]))
        text.len--;
    return text;
}

/* Lines end with LF, CR LF or CR. */
static bool next_line(struct ms_span *rest, struct ms_span *line)
{
    if (rest->len == 0)
        return false;
    size_t n = 0;
    while (n < rest->len && rest->data[n] != '\n' && rest->data[n] != '\r')
        n++;
    *line = ms_span_of(rest->data, n);
    n += n < rest->len;
    *rest = ms_span_of(rest->data + n, rest->len - n);
    return true;
}

static bool next_word(struct ms_span *rest, struct ms_span *word)
{
    *rest = strip(*rest);
    size_t n = 0;
    while (n < rest->len && !is_space(rest->data[n]))
        n++;
    *word = ms_span_of(rest->data, n);
    *rest = ms_span_of(rest->data + n, rest->len - n);
    return n > 0;
}

/* What stands in front of the next ':', or all; false behind the last. */
static bool next_part(struct ms_span *rest, struct ms_span *part)
{
    if (!rest->data)
        return false;
    const uint8_t *colon = rest->len ? memchr(rest->data, ':', rest->len) : NULL;
    size_t n = colon ? (size_t)(colon - rest->data) : rest->len;
    *part = ms_span_of(rest->data, n);
    *rest = colon ? ms_span_of(colon + 1, rest->len - n - 1) : (struct ms_span){0};
    return true;
}

static struct ms_span last_part(struct ms_span path)
{
    struct ms_span part = path;
    while (next_part(&path, &part))
        ;
    return part;
}

static void fold(char *to, struct ms_span from, bool upper)
{
    for (size_t i = 0; i < from.len; i++) {
        char c = (char)from.data[i];
        if (upper)
            to[i] = c >= 'a' && c <= 'z' ? (char)(c - 32) : c;
        else
            to[i] = c >= 'A' && c <= 'Z' ? (char)(c + 32) : c;
    }
}

static void place(struct ms_avclass *self, size_t index)
{
    const struct ms_avclass_word *word = &self->words[index];
    struct ms_avclass_key key = ms_avclass_key_of(self->seed, word->name, word->len);
    self->slots[ms_avclass_find(self, word->name, word->len, &key)] = (struct ms_avclass_slot){
        key.low, key.high, word->len, (uint32_t)index + 1, word->first, word->count};
}

static bool widen(struct ms_avclass *self)
{
    size_t count = self->slot_count ? 2 * self->slot_count : 8192;
    struct ms_avclass_slot *slots = calloc(count, sizeof *slots);
    if (!slots)
        return false;
    free(self->slots);
    self->slots = slots;
    self->slot_count = count;
    for (size_t i = 0; i < self->word_count; i++)
        place(self, i);
    return true;
}

/* The word's number; made when it is new. SIZE_MAX without memory. */
static size_t intern(struct build *build, struct ms_span name)
{
    struct ms_avclass *self = build->engine;
    char *text = ms_arena_alloc(&self->memory, name.len + MS_AVCLASS_PAD);
    if (!text)
        return SIZE_MAX;
    fold(text, name, false);
    struct ms_avclass_key key = ms_avclass_key_of(self->seed, text, name.len);
    size_t found = self->slots[ms_avclass_find(self, text, name.len, &key)].index;
    if (found)
        return found - 1;
    size_t at = self->word_count;
    if (at == UINT32_MAX - 1 || (2 * (at + 1) > self->slot_count && !widen(self)) ||
        !ms_avclass_reserve((void **)&self->words, &self->word_cap, at + 1, sizeof *self->words) ||
        !ms_avclass_reserve((void **)&build->heads, &build->head_cap, at + 1, sizeof *build->heads))
        return SIZE_MAX;
    self->words[at] =
        (struct ms_avclass_word){.name = text, .len = (uint32_t)name.len, .family = true};
    build->heads[at] = (struct heads){NONE, NONE, NONE, 0};
    self->word_count++;
    place(self, at);
    return at;
}

static bool link_to(struct build *build, int64_t *head, size_t to)
{
    if (!ms_avclass_reserve((void **)&build->edges, &build->edge_cap, build->edge_count + 1,
                            sizeof *build->edges))
        return false;
    build->edges[build->edge_count] = (struct edge){(uint32_t)to, *head};
    *head = (int64_t)build->edge_count++;
    return true;
}

static bool contains(struct ms_span text, const char *word)
{
    size_t n = strlen(word);
    for (size_t i = 0; i + n <= text.len; i++)
        if (memcmp(text.data + i, word, n) == 0)
            return true;
    return false;
}

/* "FAM:zbot", "CLASS:grayware:adware", or a name without category. */
static bool define(struct build *build, struct ms_span line)
{
    struct ms_avclass *self = build->engine;
    struct ms_span rest = line, category, part;
    size_t at = intern(build, last_part(line));
    if (at == SIZE_MAX)
        return false;
    if (self->words[at].known)
        return true;
    char *path = ms_arena_alloc(&self->memory, line.len);
    if (!path || !next_part(&rest, &category))
        return false;
    bool bare = !rest.data;
    fold(path, line, false);
    if (!bare)
        fold(path, category, true);
    category.data = (const uint8_t *)path;
    while (next_part(&rest, &part)) {
        if (!rest.data)
            break;
        size_t prefix = intern(build, part);
        if (prefix == SIZE_MAX || !link_to(build, &build->heads[at].prefix, prefix))
            return false;
    }
    struct ms_avclass_word *word = &self->words[at];
    word->known = true;
    word->path = ms_span_of(path, line.len);
    word->generic = !bare && ms_span_equal_text(category, "GEN");
    word->family =
        !bare && (ms_span_equal_text(category, "FAM") || ms_span_equal_text(category, "UNK"));
    word->class_ = !bare && ms_span_equal_text(category, "CLASS");
    word->grayware = contains(word->path, "grayware");
    return true;
}

static bool read_taxonomy(struct build *build, struct ms_span text)
{
    struct ms_span line;
    while (next_line(&text, &line))
        if (line.len && line.data[0] != '#' && !define(build, strip(line)))
            return false;
    return true;
}

/* "from to to": words may be paths, of which the name counts. A destination that is written exactly
 * as the source is none. */
static bool read_rules(struct build *build, struct ms_span text, bool expansion)
{
    struct ms_span line, from, to;
    while (next_line(&text, &line)) {
        if (!line.len || line.data[0] == '#' || !next_word(&line, &from))
            continue;
        while (next_word(&line, &to)) {
            if (ms_span_equal(from, to))
                continue;
            size_t source = intern(build, last_part(from));
            size_t target = source == SIZE_MAX ? SIZE_MAX : intern(build, last_part(to));
            if (target == SIZE_MAX)
                return false;
            struct heads *heads = &build->heads[source];
            if (!link_to(build, expansion ? &heads->expansion : &heads->tagging, target))
                return false;
        }
    }
    return true;
}

static bool add_id(struct build *build, size_t owner, size_t tag)
{
    struct heads *heads = &build->heads[tag];
    if (heads->mark == (uint32_t)owner + 1)
        return true;
    heads->mark = (uint32_t)owner + 1;
    if (build->id_count == MS_LIMIT_AVCLASS_TAGS ||
        !ms_avclass_reserve((void **)&build->engine->ids, &build->id_cap, build->id_count + 1,
                            sizeof *build->engine->ids))
        return false;
    build->engine->ids[build->id_count++] = (uint32_t)tag;
    return true;
}

/* A tag, what its expansion rules add, and the parts of its path that are tags: one level. */
static bool add_expanded(struct build *build, size_t owner, size_t tag)
{
    const struct heads heads = build->heads[tag];
    bool ok = add_id(build, owner, tag);
    for (int64_t i = heads.expansion; i != NONE && ok; i = build->edges[i].next)
        ok = add_id(build, owner, build->edges[i].to);
    for (int64_t i = heads.prefix; i != NONE && ok; i = build->edges[i].next)
        if (build->engine->words[build->edges[i].to].known)
            ok = add_id(build, owner, build->edges[i].to);
    return ok;
}

/* What the word gives as a token. A rule keeps it from being a tag itself, even when all that the
 * rule gives is generic. */
static bool resolve(struct build *build, size_t at)
{
    struct ms_avclass *self = build->engine;
    bool ok = true;
    self->words[at].first = (uint32_t)build->id_count;
    if (!self->words[at].generic && build->heads[at].tagging != NONE) {
        for (int64_t i = build->heads[at].tagging; i != NONE && ok; i = build->edges[i].next)
            if (!self->words[build->edges[i].to].generic)
                ok = add_expanded(build, at, build->edges[i].to);
    } else if (!self->words[at].generic && self->words[at].len >= MS_AVCLASS_MIN_TOKEN) {
        ok = add_expanded(build, at, at);
    }
    self->words[at].count = (uint32_t)(build->id_count - self->words[at].first);
    return ok;
}

enum ms_status ms_avclass_compile(struct ms_avclass *self, const struct ms_avclass_rules *rules,
                                  struct ms_error *err)
{
    struct build build = {.engine = self};
    bool ok = widen(self) &&
              ms_avclass_reserve((void **)&self->ids, &build.id_cap, 1, sizeof *self->ids) &&
              read_taxonomy(&build, rules->taxonomy) && read_rules(&build, rules->tagging, false) &&
              read_rules(&build, rules->expansion, true);
    for (size_t i = 0; i < self->word_count && ok; i++) {
        ok = resolve(&build, i);
        place(self, i);
    }
    free(build.heads);
    free(build.edges);
    if (ok)
        return MS_OK;
    if (build.id_count == MS_LIMIT_AVCLASS_TAGS)
        return ms_error_set(err, MS_E_LIMIT, "AVClass's rules give more than %zu tags",
                            MS_LIMIT_AVCLASS_TAGS);
    return ms_error_set(err, MS_E_NOMEM, "out of memory for AVClass's rules");
}
