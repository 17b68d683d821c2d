/*
 * listener: a bound socket whose connections are accepted into a callback; TCP and unix.
 *
 * Accepts in batches so that one storm does not starve the connections that are open. When the
 * process is out of descriptors or memory, accepting pauses LISTENER_PAUSE_MS instead of spinning
 * (threat model row 12). Threads: bound by any thread, then the owning worker.
 */
#ifndef POSTERN_NET_LISTENER_H
#define POSTERN_NET_LISTENER_H

#include "base/err.h"
#include "base/span.h"
#include "net/conn.h"

enum {
    LISTENER_BACKLOG = 4096,
    LISTENER_BATCH = 64,    /* accepts per turn */
    LISTENER_PAUSE_MS = 50, /* after EMFILE, ENFILE, ENOBUFS, ENOMEM */
};

struct listener;

/* `fd` is non-blocking, close-on-exec, TCP_NODELAY for TCP; the callee owns it. */
typedef void listener_accept_fn(void *ctx, int fd, const struct conn_peer *peer);

/* Opens, binds and listens with `n` >= 1 sockets for one address, among which the kernel spreads
 * the connections (SO_REUSEPORT): one for each worker. `address`: "HOST:PORT", "[V6]:PORT" or
 * "PORT" (HOST is a literal address: no resolver at run time; port 0 = the kernel's choice, the
 * same for all). The first one is bound without sharing, so that an address which another process
 * listens on is refused even if that one would share it. ERR_CONFIG: not an address; ERR_BUSY: in
 * use; ERR_DENIED: not permitted (ports below 1024); ERR_IO: else; errno is kept. After a failure
 * no socket is left. */
enum err listener_bind_tcp(struct span address, int *fds, unsigned n) MUST_CHECK;
/* Likewise for a unix socket at `path` with permission bits `mode`. A socket file that no process
 * listens on any more is replaced; one in use is ERR_BUSY; another kind of file is ERR_CONFIG. */
enum err listener_bind_unix(const char *path, unsigned mode, int *fd) MUST_CHECK;

/* Starts accepting on `fd`, which it owns from now on, also when this fails. */
enum err listener_create(struct loop *loop, int fd, listener_accept_fn *on_accept, void *ctx,
                         struct listener **out) MUST_CHECK;
/* Stops accepting and closes the socket. Not from inside on_accept. */
void listener_destroy(struct listener *listener);

#endif
