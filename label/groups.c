/* Groups of engines: the table, and union-find for each span of time between two of its dates. */
#include "label/groups.h"

#include "base/limits.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

/* Sources: the lists of EMBER2024 (vtpipeline-rs) and ClarAVy, which know no dates, and AVClass for
 * F-Secure, which left BitDefender for Avira in 2018-11. The other days are approximate: no source
 * at hand gives them, and a scan of the months around one may be counted by the wrong group. They
 * are kept because without a date all scans of one side would be. Of published reports, those of
 * 2013 and later have Emsisoft (a-squared) with BitDefender's labels and not with Ikarus's; AVG's
 * differ from Avast's in 2015 and are the same in 2020; VIPRE's differ from BitDefender's in 2015
 * and are the same in 2025. That Qihoo-360 used BitDefender in its early years is the lists' word;
 * its end is the least certain of all. A new name of the same engine (AntiVir, Avira) is an undated
 * row. */
static const struct ms_group_row builtin_rows[] = {
    {"BitDefender Ad-Aware ALYac Arcabit FireEye Trellix TrellixHX GData", NULL, NULL},
    {"BitDefender MicroWorld-eScan eScan ViRobot", NULL, NULL},
    {"BitDefender BitDefenderTheta BitDefenderFalx", NULL, NULL},
    {"Avira AntiVir Avira(nocloud)", NULL, NULL},
    {"Emsisoft a-squared", NULL, NULL},
    {"BitDefender Emsisoft", "2012-11-01", NULL}, /* approximate */
    {"Ikarus Emsisoft", NULL, "2012-11-01"},      /* approximate */
    {"BitDefender F-Secure", NULL, "2018-11-01"},
    {"Avira F-Secure", "2018-11-01", NULL},
    {"BitDefender Qihoo-360", NULL, "2019-01-01"}, /* approximate */
    {"BitDefender VIPRE", "2022-01-01", NULL},     /* approximate */
    {"VIPRE AVware Sunbelt", NULL, NULL},
    {"Avast Avast5 Avast-Mobile", NULL, NULL},
    {"Avast AVG", "2017-01-01", NULL}, /* approximate */
    {"K7AntiVirus K7GW", NULL, NULL},
    {"Kaspersky ZoneAlarm", NULL, NULL},
    {"McAfee McAfee-GW-Edition Skyhigh McAfeeD McAfee+Artemis TrellixENS", NULL, NULL},
    {"Cyren Commtouch F-Prot F-Prot4 F-Prot6 Authentium Varist CyrenCloud", NULL, NULL},
    {"ESET-NOD32 NOD32 NOD32v2", NULL, NULL},
    {"Sophos Invincea", NULL, NULL},
    {"Symantec SymantecMobileInsight", NULL, NULL},
    {"TrendMicro TrendMicro-HouseCall", NULL, NULL},
    {"nProtect TACHYON", NULL, NULL},
    {"Agnitum VirusBuster Yandex", NULL, NULL},
    {"CA-eTrust eTrust-Vet TotalDefense", NULL, NULL},
    {"Baidu Baidu-International", NULL, NULL},
    {"Comodo Xcitium", NULL, NULL},
    {"Endgame Elastic", NULL, NULL},
    {"Qihoo-360 360", NULL, NULL},
    {"AegisLab Lionic", NULL, NULL},
    {"Alibaba AlibabaCloud", NULL, NULL},
    {"Cynet CynetV", NULL, NULL},
    {"eGambit TEHTRIS", NULL, NULL},
    {"Prevx Webroot", NULL, NULL},
};

enum { SLOTS = 2048 };

struct name {
    char key[MS_ENGINE_KEY_BYTES];
    char text[MS_LIMIT_ENGINE_NAME_BYTES + 1]; /* as written */
    uint32_t hash;
};

struct membership {
    uint16_t first, other; /* names; a row of n names is n - 1 of them */
    int64_t from_ms, until_ms;
};

struct ms_groups {
    struct name *names;
    size_t name_count;
    struct membership *rows;
    size_t row_count, row_cap;
    int64_t days[MS_LIMIT_GROUP_DAYS]; /* sorted; span i lies before days[i], the last behind all */
    size_t day_count;
    uint16_t *roots;       /* span * names + name */
    uint16_t slots[SLOTS]; /* hash -> name + 1 */
};

/* ---- days ---- */

/* ---- names ---- */

uint32_t ms_engine_key(const char *name, char key[MS_ENGINE_KEY_BYTES])
{
    size_t used = 0;
    uint32_t hash = 2166136261u;
    for (const char *p = name; *p && used + 1 < MS_ENGINE_KEY_BYTES; p++) {
        char c = *p;
        if (c >= 'A' && c <= 'Z')
            c = (char)(c - 'A' + 'a');
        else if (!((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9')))
            continue;
        key[used++] = c;
        hash = (hash ^ (uint8_t)c) * 16777619u;
    }
    key[used] = '\0';
    return hash;
}

/* The slot that holds the key, or the free one it would go to. */
static size_t slot_of(const struct ms_groups *self, const char *key, uint32_t hash)
{
    size_t slot = (hash ^ hash >> 15) % SLOTS;
    while (self->slots[slot]) {
        const struct name *name = &self->names[self->slots[slot] - 1];
        if (name->hash == hash && strcmp(name->key, key) == 0)
            break;
        slot = (slot + 1) % SLOTS;
    }
    return slot;
}

static enum ms_status add_name(struct ms_groups *self, const char *text, size_t n, uint16_t *at,
                               struct ms_error *err)
{
    struct name name = {.hash = 0};
    if (n == 0 || n > MS_LIMIT_ENGINE_NAME_BYTES)
        return ms_error_set(err, MS_E_INPUT, "an engine's name is empty or longer than %d bytes",
                            MS_LIMIT_ENGINE_NAME_BYTES);
    memcpy(name.text, text, n);
    name.hash = ms_engine_key(name.text, name.key);
    size_t slot = slot_of(self, name.key, name.hash);
    if (!self->slots[slot]) {
        if (self->name_count == MS_LIMIT_GROUP_ENGINES)
            return ms_error_set(err, MS_E_INPUT, "more than %d engines in groups",
                                MS_LIMIT_GROUP_ENGINES);
        self->names[self->name_count++] = name;
        self->slots[slot] = (uint16_t)self->name_count;
    }
    *at = (uint16_t)(self->slots[slot] - 1);
    return MS_OK;
}

/* ---- rows ---- */

static enum ms_status add_day(struct ms_groups *self, int64_t day_ms, struct ms_error *err)
{
    size_t at = 0;
    while (at < self->day_count && self->days[at] < day_ms)
        at++;
    if (at < self->day_count && self->days[at] == day_ms)
        return MS_OK;
    if (self->day_count == MS_LIMIT_GROUP_DAYS)
        return ms_error_set(err, MS_E_INPUT, "more than %d different days in groups",
                            MS_LIMIT_GROUP_DAYS);
    memmove(self->days + at + 1, self->days + at, (self->day_count - at) * sizeof *self->days);
    self->days[at] = day_ms;
    self->day_count++;
    return MS_OK;
}

static enum ms_status read_span(struct ms_groups *self, const struct ms_group_row *row,
                                struct membership *span, struct ms_error *err)
{
    enum ms_status status = MS_OK;
    span->from_ms = row->from ? ms_day_parse(row->from) : INT64_MIN;
    span->until_ms = row->until ? ms_day_parse(row->until) : INT64_MAX;
    if (span->from_ms == -1 || span->until_ms == -1)
        return ms_error_set(err, MS_E_INPUT, "a group's day is not YYYY-MM-DD");
    if (span->from_ms >= span->until_ms)
        return ms_error_set(err, MS_E_INPUT, "a group ends before it begins");
    if (row->from)
        status = add_day(self, span->from_ms, err);
    return status == MS_OK && row->until ? add_day(self, span->until_ms, err) : status;
}

static enum ms_status add_membership(struct ms_groups *self, const struct membership *row,
                                     struct ms_error *err)
{
    if (self->row_count == self->row_cap) {
        size_t cap = self->row_cap ? self->row_cap * 2 : 128;
        struct membership *longer = realloc(self->rows, cap * sizeof *longer);
        if (!longer)
            return ms_error_set(err, MS_E_NOMEM, "out of memory");
        self->rows = longer;
        self->row_cap = cap;
    }
    self->rows[self->row_count++] = *row;
    return MS_OK;
}

static enum ms_status add_row(struct ms_groups *self, const struct ms_group_row *row,
                              struct ms_error *err)
{
    struct membership span = {0};
    const char *between = strchr(row->engines, '|') ? "|" : " ";
    enum ms_status status = read_span(self, row, &span, err);
    size_t members = 0;
    for (const char *p = row->engines + strspn(row->engines, between); *p && status == MS_OK;) {
        size_t n = strcspn(p, between);
        status = add_name(self, p, n, &span.other, err);
        if (members++ == 0)
            span.first = span.other;
        if (status == MS_OK)
            status = add_membership(self, &span, err);
        p += n;
        p += strspn(p, between);
    }
    return status;
}

/* ---- union-find ---- */

static uint16_t root_of(const uint16_t *parents, uint16_t i)
{
    while (parents[i] != i)
        i = parents[i];
    return i;
}

/* The lower number becomes the root: the member the table names first leads. */
static void join(uint16_t *parents, uint16_t a, uint16_t b)
{
    uint16_t x = root_of(parents, a), y = root_of(parents, b);
    parents[x < y ? y : x] = x < y ? x : y;
}

static enum ms_status find_roots(struct ms_groups *self, struct ms_error *err)
{
    size_t n = self->name_count;
    self->roots = calloc((self->day_count + 1) * (n + 1), sizeof *self->roots);
    if (!self->roots)
        return ms_error_set(err, MS_E_NOMEM, "out of memory");
    for (size_t span = 0; span <= self->day_count; span++) {
        uint16_t *parents = self->roots + span * n;
        int64_t when = span == 0 ? INT64_MIN : self->days[span - 1];
        for (size_t i = 0; i < n; i++)
            parents[i] = (uint16_t)i;
        for (size_t i = 0; i < self->row_count; i++)
            if (self->rows[i].from_ms <= when && when < self->rows[i].until_ms)
                join(parents, self->rows[i].first, self->rows[i].other);
        for (size_t i = 0; i < n; i++)
            parents[i] = root_of(parents, (uint16_t)i);
    }
    return MS_OK;
}

enum ms_status ms_groups_new(const struct ms_group_row *rows, size_t count, struct ms_groups **out,
                             struct ms_error *err)
{
    struct ms_groups *self = calloc(1, sizeof *self);
    enum ms_status status = MS_OK;
    if (self)
        self->names = calloc(MS_LIMIT_GROUP_ENGINES, sizeof *self->names);
    if (!self || !self->names)
        status = ms_error_set(err, MS_E_NOMEM, "out of memory");
    for (size_t i = 0; i < count && status == MS_OK; i++)
        status = add_row(self, &rows[i], err);
    if (status == MS_OK)
        status = find_roots(self, err);
    if (status == MS_OK)
        *out = self;
    else
        ms_groups_free(self);
    return status;
}

void ms_groups_free(struct ms_groups *self)
{
    if (!self)
        return;
    free(self->names);
    free(self->rows);
    free(self->roots);
    free(self);
}

static struct ms_groups *builtin;

static void build_builtin(void)
{
    /* Without memory the table stays NULL, and every engine is a group of its own. */
    if (ms_groups_new(builtin_rows, sizeof builtin_rows / sizeof *builtin_rows, &builtin, NULL) !=
        MS_OK)
        builtin = NULL;
}

const struct ms_groups *ms_groups_builtin(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    (void)pthread_once(&once, build_builtin);
    return builtin;
}

/* ---- asking ---- */

unsigned ms_groups_at(const struct ms_groups *self, int64_t when_ms)
{
    size_t span = 0;
    if (!self)
        return 0;
    while (span < self->day_count && (when_ms <= 0 || self->days[span] <= when_ms))
        span++;
    return (unsigned)span;
}

int ms_groups_find(const struct ms_groups *self, unsigned at, const char *key, uint32_t hash,
                   const char **leader)
{
    size_t slot = self ? slot_of(self, key, hash) : 0;
    if (!self || !self->slots[slot] || at > self->day_count)
        return -1;
    uint16_t root = self->roots[at * self->name_count + self->slots[slot] - 1u];
    *leader = self->names[root].text;
    return root;
}

size_t ms_groups_size(const struct ms_groups *self)
{
    return self ? self->name_count : 0;
}

const char *ms_engine_group_at(const struct ms_groups *self, const char *engine, int64_t when_ms)
{
    char key[MS_ENGINE_KEY_BYTES];
    const char *leader = engine;
    uint32_t hash = ms_engine_key(engine, key);
    (void)ms_groups_find(self, ms_groups_at(self, when_ms), key, hash, &leader);
    return leader;
}

void ms_groups_describe(const struct ms_groups *self, struct ms_buf *out)
{
    for (size_t i = 0; self && i < self->row_count; i++)
        (void)ms_buf_printf(out, "%s %s %lld %lld\n", self->names[self->rows[i].first].key,
                            self->names[self->rows[i].other].key, (long long)self->rows[i].from_ms,
                            (long long)self->rows[i].until_ms);
}
