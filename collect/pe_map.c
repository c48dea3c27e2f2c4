/* From addresses in memory to bytes of a PE file, with section tables that overlap, lie, or point
 * outside. Reads through checked spans; knows nothing of what the bytes mean. */
#include "collect/pe_private.h"

#include <string.h>

enum {
    SECTION_BYTES = 40,
    SECTOR_BYTES = 512, /* the loader reads whole sectors */
    PAGE_BYTES = 4096,
    ODDITIES_MAX = 3, /* of a section header, before it and the rest are taken for rubbish */
    LARGE = 0x10000000
};

uint32_t ms_pe_raw_start(uint32_t raw_at, uint32_t file_alignment)
{
    return file_alignment < SECTOR_BYTES ? raw_at : raw_at - raw_at % SECTOR_BYTES;
}

static uint32_t memory_start(uint32_t address, uint32_t section_alignment, uint32_t file_alignment)
{
    uint32_t step = section_alignment < PAGE_BYTES ? file_alignment : section_alignment;
    return step ? address - address % step : address;
}

static uint32_t field(struct ms_span header, uint64_t at)
{
    uint32_t value;
    return ms_span_u32le(header, at, &value) ? value : 0;
}

static bool is_empty(struct ms_span header)
{
    for (size_t i = 0; i < header.len; i++)
        if (header.data[i])
            return false;
    return true;
}

/* Sorted by address; of equal ones the first in the table stays first. */
static void insert(struct ms_pe_map *self, const struct ms_pe_range *range)
{
    size_t at = self->count++;
    for (; at > 0 && self->ranges[at - 1].address > range->address; at--)
        self->ranges[at] = self->ranges[at - 1];
    self->ranges[at] = *range;
}

/* False: the table ends here. */
static bool add_section(struct ms_pe_map *self, struct ms_span header, uint32_t file_alignment,
                        uint32_t section_alignment)
{
    uint32_t virtual_bytes = field(header, 8), address = field(header, 12);
    uint32_t raw_bytes = field(header, 16), raw_at = field(header, 20);
    uint64_t file_bytes = self->file.len;
    struct ms_pe_range range = {
        .address = address,
        .raw_at = raw_at,
        .start = memory_start(address, section_alignment, file_alignment),
        .raw_start = ms_pe_raw_start(raw_at, file_alignment),
        .raw_limit = (uint64_t)raw_at + raw_bytes,
    };
    int oddities = (range.raw_limit > file_bytes) + (range.raw_start > file_bytes) +
                   (virtual_bytes > LARGE) + (range.start > LARGE) +
                   (file_alignment != 0 && raw_at % file_alignment != 0);
    if (is_empty(header) || oddities >= ODDITIES_MAX)
        return false;
    bool inside = range.raw_start + raw_bytes <= file_bytes;
    range.memory_bytes = inside && raw_bytes > virtual_bytes ? raw_bytes : virtual_bytes;
    insert(self, &range);
    return true;
}

static void cut_ranges(struct ms_pe_map *self)
{
    for (size_t i = 0; i < self->count; i++) {
        struct ms_pe_range *range = &self->ranges[i];
        range->end = range->start + range->memory_bytes;
        if (i + 1 == self->count)
            continue;
        uint64_t next = self->ranges[i + 1].address;
        if (next > range->address && range->end > next)
            range->end = next;
    }
}

void ms_pe_map_init(struct ms_pe_map *self, struct ms_span file, uint64_t table_at,
                    uint64_t table_count, uint32_t file_alignment, uint32_t section_alignment)
{
    struct ms_span header;
    uint64_t lowest = 0;
    self->file = file;
    self->count = 0;
    for (uint64_t i = 0; i < table_count && i < MS_LIMIT_PE_MAPPED; i++)
        if (!ms_span_sub(file, table_at + i * SECTION_BYTES, SECTION_BYTES, &header) ||
            !add_section(self, header, file_alignment, section_alignment))
            break;
    cut_ranges(self);
    bool any = false;
    for (size_t i = 0; i < self->count; i++) {
        const struct ms_pe_range *range = &self->ranges[i];
        if (range->raw_at && (!any || range->raw_start < lowest)) {
            any = true;
            lowest = range->raw_start;
        }
    }
    uint64_t end = self->count ? table_at + table_count * SECTION_BYTES : table_at;
    self->header_bytes = lowest > end ? lowest : end;
    if (self->header_bytes > file.len)
        self->header_bytes = file.len;
}

static const struct ms_pe_range *find(const struct ms_pe_map *self, uint64_t address)
{
    for (size_t i = 0; i < self->count; i++)
        if (address >= self->ranges[i].start && address < self->ranges[i].end)
            return &self->ranges[i];
    return NULL;
}

static struct ms_span clipped(struct ms_span file, uint64_t start, uint64_t end)
{
    if (end > file.len)
        end = file.len;
    return start < end ? ms_span_of(file.data + start, (size_t)(end - start)) : ms_span_of("", 0);
}

static struct ms_span section_bytes(const struct ms_pe_map *self, const struct ms_pe_range *range,
                                    uint64_t address, uint64_t n)
{
    uint64_t start = address - range->start + range->raw_start;
    uint64_t end = start + n;
    return clipped(self->file, start, end > range->raw_limit ? range->raw_limit : end);
}

bool ms_pe_map_read(const struct ms_pe_map *self, uint64_t address, uint64_t n, struct ms_span *out)
{
    const struct ms_pe_range *range = find(self, address);
    if (range)
        *out = section_bytes(self, range, address, n);
    else if (address < self->header_bytes)
        *out =
            clipped(ms_span_of(self->file.data, (size_t)self->header_bytes), address, address + n);
    else if (address < self->file.len)
        *out = clipped(self->file, address, address + n);
    else
        return false;
    return true;
}

struct ms_span ms_pe_map_text(const struct ms_pe_map *self, uint64_t address, uint64_t n)
{
    const struct ms_pe_range *range = find(self, address);
    struct ms_span text = ms_span_of("", 0);
    if (range)
        text = section_bytes(self, range, address, n);
    else if (address < self->file.len)
        text = clipped(self->file, address, address + n);
    const uint8_t *end = text.len ? memchr(text.data, 0, text.len) : NULL;
    if (end)
        text.len = (size_t)(end - text.data);
    return text;
}

bool ms_pe_map_offset(const struct ms_pe_map *self, uint64_t address, uint64_t *out)
{
    const struct ms_pe_range *range = find(self, address);
    if (!range && address >= self->file.len)
        return false;
    *out = range ? address - range->start + range->raw_start : address;
    return true;
}
