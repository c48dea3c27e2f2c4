/* The address tables behind ms_addr_classify. */
#include "base/http_addr.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

struct v4_block {
    uint32_t first;
    unsigned bits;
    enum ms_addr_class kind;
};

#define V4(a, b, c, d) ((uint32_t)(a) << 24 | (uint32_t)(b) << 16 | (uint32_t)(c) << 8 | (d))

static const struct v4_block v4_blocks[] = {
    {V4(0, 0, 0, 0), 8, MS_ADDR_RESERVED},        {V4(10, 0, 0, 0), 8, MS_ADDR_PRIVATE},
    {V4(100, 64, 0, 0), 10, MS_ADDR_PRIVATE},     {V4(127, 0, 0, 0), 8, MS_ADDR_LOOPBACK},
    {V4(169, 254, 0, 0), 16, MS_ADDR_LINK_LOCAL}, {V4(172, 16, 0, 0), 12, MS_ADDR_PRIVATE},
    {V4(192, 0, 0, 0), 24, MS_ADDR_RESERVED},     {V4(192, 0, 2, 0), 24, MS_ADDR_RESERVED},
    {V4(192, 88, 99, 0), 24, MS_ADDR_RESERVED},   {V4(192, 168, 0, 0), 16, MS_ADDR_PRIVATE},
    {V4(198, 18, 0, 0), 15, MS_ADDR_RESERVED},    {V4(198, 51, 100, 0), 24, MS_ADDR_RESERVED},
    {V4(203, 0, 113, 0), 24, MS_ADDR_RESERVED},   {V4(224, 0, 0, 0), 4, MS_ADDR_MULTICAST},
    {V4(240, 0, 0, 0), 4, MS_ADDR_RESERVED},
};

struct v6_block {
    uint8_t first[16];
    unsigned bits;
    enum ms_addr_class kind;
};

/* Order matters: the first match wins; what matches nothing and lies outside 2000::/3 is reserved.
 */
static const struct v6_block v6_blocks[] = {
    {{[15] = 1}, 128, MS_ADDR_LOOPBACK},
    {{0xfe, 0x80}, 10, MS_ADDR_LINK_LOCAL},
    {{0xfe, 0xc0}, 10, MS_ADDR_PRIVATE},
    {{0xfc}, 7, MS_ADDR_PRIVATE},
    {{0xff}, 8, MS_ADDR_MULTICAST},
    {{0x20, 0x01, 0x0d, 0xb8}, 32, MS_ADDR_RESERVED},
    {{0x20, 0x01, 0x00, 0x00}, 23, MS_ADDR_RESERVED}, /* Teredo, ORCHID, benchmarking */
    {{0x3f, 0xff, 0x00}, 20, MS_ADDR_RESERVED},
    {{0x20}, 3, MS_ADDR_PUBLIC},
};

static bool matches(const uint8_t *address, const uint8_t *first, unsigned bits)
{
    unsigned whole = bits / 8, rest = bits % 8;
    if (memcmp(address, first, whole) != 0)
        return false;
    return rest == 0 || ((address[whole] ^ first[whole]) >> (8 - rest)) == 0;
}

static enum ms_addr_class classify_v4(uint32_t address)
{
    for (size_t i = 0; i < sizeof v4_blocks / sizeof *v4_blocks; i++)
        if (((address ^ v4_blocks[i].first) >> (32 - v4_blocks[i].bits)) == 0)
            return v4_blocks[i].kind;
    return MS_ADDR_PUBLIC;
}

static uint32_t embedded(const uint8_t *p)
{
    return V4(p[0], p[1], p[2], p[3]);
}

static enum ms_addr_class classify_v6(const uint8_t a[16])
{
    static const uint8_t mapped[16] = {[10] = 0xff, [11] = 0xff};
    static const uint8_t nat64[16] = {0x00, 0x64, 0xff, 0x9b};
    static const uint8_t sixtofour[16] = {0x20, 0x02};
    if (matches(a, mapped, 96) || matches(a, nat64, 96))
        return classify_v4(embedded(a + 12));
    if (matches(a, sixtofour, 16))
        return classify_v4(embedded(a + 2));
    for (size_t i = 0; i < sizeof v6_blocks / sizeof *v6_blocks; i++)
        if (matches(a, v6_blocks[i].first, v6_blocks[i].bits))
            return v6_blocks[i].kind;
    return MS_ADDR_RESERVED;
}

enum ms_addr_class ms_addr_classify(const struct sockaddr *addr, size_t bytes)
{
    if (addr->sa_family == AF_INET && bytes >= sizeof(struct sockaddr_in)) {
        struct sockaddr_in v4;
        memcpy(&v4, addr, sizeof v4);
        return classify_v4(ntohl(v4.sin_addr.s_addr));
    }
    if (addr->sa_family == AF_INET6 && bytes >= sizeof(struct sockaddr_in6)) {
        struct sockaddr_in6 v6;
        memcpy(&v6, addr, sizeof v6);
        return classify_v6(v6.sin6_addr.s6_addr);
    }
    return MS_ADDR_RESERVED;
}

const char *ms_addr_class_name(enum ms_addr_class kind)
{
    static const char *const names[] = {"public",     "loopback",  "private",
                                        "link-local", "multicast", "reserved"};
    return (unsigned)kind < sizeof names / sizeof *names ? names[kind] : "reserved";
}

void ms_addr_format(const struct sockaddr *addr, size_t bytes, char out[64])
{
    const void *raw = NULL;
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;
    if (addr->sa_family == AF_INET && bytes >= sizeof v4) {
        memcpy(&v4, addr, sizeof v4);
        raw = &v4.sin_addr;
    } else if (addr->sa_family == AF_INET6 && bytes >= sizeof v6) {
        memcpy(&v6, addr, sizeof v6);
        raw = &v6.sin6_addr;
    }
    if (!raw || !inet_ntop(addr->sa_family, raw, out, 64))
        (void)snprintf(out, 64, "?");
}
