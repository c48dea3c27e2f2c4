/* Sets of parts of an ensemble. */
#include "train/parts.h"

#include "base/log.h"

#include <stdio.h>
#include <string.h>

static const char *const names[MS_PARTS] = {"recurrent", "hybrid",        "gru",    "gru-hybrid",
                                            "pooled",    "pooled-hybrid", "linear", "boosted"};

bool ms_part_is_net(enum ms_part part)
{
    return part < MS_PART_LINEAR;
}

bool ms_part_is_wide(enum ms_part part)
{
    return part == MS_PART_HYBRID || part == MS_PART_GRU_HYBRID || part == MS_PART_POOLED_HYBRID;
}

bool ms_part_is_gru(enum ms_part part)
{
    return part == MS_PART_GRU || part == MS_PART_GRU_HYBRID;
}

bool ms_part_is_pooled(enum ms_part part)
{
    return part == MS_PART_POOLED || part == MS_PART_POOLED_HYBRID;
}

static uint32_t those(uint32_t parts, bool (*are)(enum ms_part))
{
    uint32_t left = 0;
    for (uint32_t p = 0; p < MS_PARTS; p++)
        left |= (parts & MS_PART_BIT(p)) && are((enum ms_part)p) ? MS_PART_BIT(p) : 0;
    return left;
}

uint32_t ms_parts_nets(uint32_t parts)
{
    return those(parts, ms_part_is_net);
}

uint32_t ms_parts_wide(uint32_t parts)
{
    return those(parts, ms_part_is_wide);
}

uint32_t ms_parts_sparse(uint32_t parts)
{
    return (parts & ~ms_parts_nets(parts)) | ms_parts_wide(parts);
}

uint32_t ms_parts_pooled(uint32_t parts)
{
    uint32_t nets = ms_parts_nets(parts), wide = ms_parts_wide(parts), left = parts & ~nets;
    if (nets & ~wide)
        left |= MS_PART_BIT(MS_PART_POOLED);
    if (wide)
        left |= MS_PART_BIT(MS_PART_POOLED_HYBRID);
    return left;
}

uint32_t ms_parts_count(uint32_t parts)
{
    uint32_t count = 0;
    for (uint32_t p = 0; p < MS_PARTS; p++)
        count += (parts & MS_PART_BIT(p)) != 0;
    return count;
}

void ms_parts_text(uint32_t parts, char out[MS_PARTS_TEXT_BYTES])
{
    size_t at = 0;
    out[0] = '\0';
    for (uint32_t p = 0; p < MS_PARTS; p++)
        if (parts & MS_PART_BIT(p))
            at += (size_t)snprintf(out + at, MS_PARTS_TEXT_BYTES - at, "%s%s", at ? "+" : "",
                                   names[p]);
}

enum ms_status ms_parts_parse(const char *text, uint32_t *out, struct ms_error *err)
{
    char shown[120];
    *out = 0;
    for (const char *at = text;; at++) {
        size_t n = strcspn(at, "+,");
        uint32_t p = 0;
        while (p < MS_PARTS && !(strlen(names[p]) == n && memcmp(names[p], at, n) == 0))
            p++;
        if (p == MS_PARTS || (*out & MS_PART_BIT(p)))
            return ms_error_set(err, MS_E_USAGE,
                                "'%s': must be some of recurrent, hybrid, gru, gru-hybrid, pooled, "
                                "pooled-hybrid, linear and boosted, each once",
                                ms_escape_text(text, shown, sizeof shown));
        *out |= MS_PART_BIT(p);
        at += n;
        if (!*at)
            return MS_OK;
    }
}
