/*
 * counters: what a worker has done, one 64-bit counter a fact, summed over workers for the metrics.
 * Plain increments by the owning worker; a reader on another thread may see a value that is one
 * turn old. Add a line to COUNTER_MAP, increment `kit->counters.NAME`.
 */
#ifndef POSTERN_BASE_COUNTERS_H
#define POSTERN_BASE_COUNTERS_H

#include <stdint.h>

/* X(name, help) */
#define COUNTER_MAP(X)                                                                             \
    X(connections_accepted, "Connections taken from the listeners")                                \
    X(connections_refused, "Connections closed at once for limits.connections*")                   \
    X(connections_open, "Connections open now")                                                    \
    X(connections_moved, "Connections taken over from another worker")                             \
    X(requests, "HTTP requests served here")                                                       \
    X(requests_refused, "HTTP requests answered 4xx for their form and closed")                    \
    X(websocket_upgrades, "101 answers sent")                                                      \
    X(deflate_upgrades, "Of them with permessage-deflate")                                         \
    X(deflate_starved, "WebSockets closed because limits.deflate_memory was used up")              \
    X(sessions_opened, "Sessions opened")                                                          \
    X(sessions_closed, "Sessions ended")                                                           \
    X(sessions_open, "Sessions alive now")                                                         \
    X(messages_in, "Messages from clients")                                                        \
    X(messages_out, "Messages to clients")                                                         \
    X(bytes_in, "Payload bytes from clients")                                                      \
    X(bytes_out, "Payload bytes to clients")                                                       \
    X(slow_consumers, "Sessions closed because their queue was full")                              \
    X(links_open, "Handler links alive now")                                                       \
    X(relays_open, "Ends of relays between workers alive now")                                     \
    X(link_errors, "Handler links ended by an ERROR of ours")                                      \
    X(ends_untold, "Sessions whose end, or last messages, no handler was there to hear")           \
    X(stale_verbs, "Verbs for sessions that had closed meanwhile")                                 \
    X(out_of_memory, "Allocations that failed and cost a connection")

struct counters {
#define X(name, help) uint64_t name;
    COUNTER_MAP(X)
#undef X
};

#endif
