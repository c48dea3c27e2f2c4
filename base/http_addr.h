/* Classes of network addresses: which ones a URL from outside may lead to. Pure; resolves nothing.
 */
#ifndef MS_BASE_HTTP_ADDR_H
#define MS_BASE_HTTP_ADDR_H

#include <stddef.h>
#include <sys/socket.h>

enum ms_addr_class {
    MS_ADDR_PUBLIC,
    MS_ADDR_LOOPBACK,
    MS_ADDR_PRIVATE,    /* RFC 1918, shared address space (RFC 6598), unique local (RFC 4193) */
    MS_ADDR_LINK_LOCAL, /* 169.254/16 (cloud metadata lives there), fe80::/10 */
    MS_ADDR_MULTICAST,
    MS_ADDR_RESERVED /* documentation, benchmarking, "this network", everything not assigned */
};

/* The class after the IANA special-purpose registries (RFC 6890 and updates). IPv6 addresses that
 * carry an IPv4 address (mapped, NAT64 64:ff9b::/96, 6to4) have that address's class. A family
 * other than AF_INET and AF_INET6, or a short structure, is RESERVED. */
enum ms_addr_class ms_addr_classify(const struct sockaddr *addr, size_t bytes);

/* "public", "loopback", "private", … */
const char *ms_addr_class_name(enum ms_addr_class kind);

/* Numeric text of the address ("?" when it has none); out holds 64 bytes. */
void ms_addr_format(const struct sockaddr *addr, size_t bytes, char out[64]);

#endif
