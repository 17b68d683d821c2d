/* flash_policy: see flash_policy.h. */
#include "server/flash_policy.h"

#include "server/config.h"

/* The port of an address that is well-formed: what stands behind the last colon, or all. */
static struct span port_of(const char *address)
{
    struct span port = span_str(address);
    size_t colon = span_find(port, ':');
    while (colon != port.len) {
        port = span_skip(port, colon + 1);
        colon = span_find(port, ':');
    }
    return port;
}

static bool is_chosen_by_system(struct span port)
{
    while (port.len != 0 && port.ptr[0] == '0') {
        port = span_skip(port, 1);
    }
    return port.len == 0;
}

static bool has_ports(const struct config_strings *addresses)
{
    for (size_t i = 0; i < addresses->n; i++) {
        if (!is_chosen_by_system(port_of(addresses->items[i]))) {
            return true;
        }
    }
    return false;
}

bool flash_policy_has_ports(const struct config *config)
{
    return config->flash_ports.n != 0 || has_ports(&config->listen) ||
           has_ports(&config->flash_listen);
}

/* Appends `port` to a list that began at byte `start`. */
static enum err put_port(struct buf *out, size_t start, struct span port)
{
    return buf_printf(out, "%s%.*s", buf_len(out) != start ? "," : "", SPAN_FMT(port));
}

static enum err put_ports_of(struct buf *out, size_t start, const struct config_strings *addresses)
{
    enum err e = ERR_OK;
    for (size_t i = 0; i < addresses->n && e == ERR_OK; i++) {
        struct span port = port_of(addresses->items[i]);
        if (!is_chosen_by_system(port)) {
            e = put_port(out, start, port);
        }
    }
    return e;
}

static enum err put_ports(struct buf *out, const struct config *config)
{
    size_t start = buf_len(out);
    enum err e = ERR_OK;
    for (size_t i = 0; i < config->flash_ports.n && e == ERR_OK; i++) {
        e = put_port(out, start, span_str(config->flash_ports.items[i]));
    }
    if (config->flash_ports.n == 0) {
        e = put_ports_of(out, start, &config->listen);
        e = e == ERR_OK ? put_ports_of(out, start, &config->flash_listen) : e;
    }
    return e;
}

static enum err put_domain(struct buf *out, const struct config *config, const char *domain)
{
    enum err e = buf_printf(out, "  <allow-access-from domain=\"%s\" to-ports=\"", domain);
    e = e == ERR_OK ? put_ports(out, config) : e;
    return e == ERR_OK ? buf_append_span(out, SPAN_LIT("\"/>\n")) : e;
}

enum err flash_policy_put(const struct config *config, struct buf *out)
{
    enum err e = buf_append_span(
        out, SPAN_LIT("<?xml version=\"1.0\"?>\n"
                      "<!DOCTYPE cross-domain-policy SYSTEM "
                      "\"http://www.macromedia.com/xml/dtds/cross-domain-policy.dtd\">\n"
                      "<cross-domain-policy>\n"));
    for (size_t i = 0; i < config->flash_domains.n && e == ERR_OK; i++) {
        e = put_domain(out, config, config->flash_domains.items[i]);
    }
    return e == ERR_OK ? buf_append_span(out, SPAN_LIT("</cross-domain-policy>\n\0")) : e;
}
