/*
 * stage: the gateway, its handler and the clock in one thread, turned by hand.
 *
 * A stage is one config with a worker that was never started: stage_step runs one turn of its loop
 * and lets the handler answer; where nothing moves any more the virtual clock goes on to the next
 * deadline. A budget of virtual time ends every wait.
 */
#ifndef POSTERN_FAULT_STAGE_H
#define POSTERN_FAULT_STAGE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "fault/handler.h"

struct composed;
struct config;
struct loop;
struct peers;
struct tls_server;
struct worker;

enum stage_door {
    STAGE_UNIX,
    STAGE_TCP,
    STAGE_TLS,
};

enum {
    STAGE_STRIKE_MS = 3000,   /* a persistent failure is lifted after so long */
    STAGE_BUDGET_MS = 120000, /* of one client; longer than any timeout on its way */
    STAGE_PATH_BYTES = 64,
};

/* What lives as long as the program. */
struct stage_home {
    char folder[STAGE_PATH_BYTES];
    char handlers[STAGE_PATH_BYTES + 16];
    char plain[STAGE_PATH_BYTES + 16];
    char tls[STAGE_PATH_BYTES + 16];
    char cert[STAGE_PATH_BYTES + 16];
    char key[STAGE_PATH_BYTES + 16];
};

struct stage {
    const struct stage_home *home;
    struct config *config;
    struct composed *composed;
    struct peers *peers;
    struct tls_server *tls; /* NULL: no TLS door */
    struct worker *worker;
    struct loop *loop;
    struct handler handler;
    uint16_t port; /* of STAGE_TCP */
    uint64_t strike_end_ms;
    uint64_t budget_end_ms;
    uint64_t progress; /* as of the last step */
    unsigned n_turns;  /* since the last stage_grant */
    bool has_tcp;      /* a client is on STAGE_TCP: the kernel may be late */
};

/* A folder of its own under /tmp with a certificate; false: errno says why not. */
bool stage_home_create(struct stage_home *home);
void stage_home_destroy(const struct stage_home *home);

/* Starts all that a process starts: config, TLS (with `has_tls`), listeners, worker. Runs inside
 * the gateway's part (fault.h) with `is_inside`. On an error nothing is left. */
enum err stage_open(struct stage *stage, const struct stage_home *home, bool has_tls,
                    bool is_inside);
/* One turn. False: the budget is used up. */
bool stage_step(struct stage *stage);
/* A fresh budget, for the next client. */
void stage_grant(struct stage *stage);
/* Steps until `condition` holds; false: it never does. */
bool stage_until(struct stage *stage, bool (*condition)(const struct stage *stage));
/* Conditions. Clients that are gone have left nothing, nor has the handler: */
bool stage_is_quiet(const struct stage *stage);
/* No connection of whatever kind is left. */
bool stage_is_empty(const struct stage *stage);
bool stage_has_no_link(const struct stage *stage);
/* Ends everything; with `is_inside` under the failure that still holds. */
void stage_close(struct stage *stage, bool is_inside);

/* A client's socket, connected; -1 when that cannot be. */
int stage_connect(struct stage *stage, enum stage_door door);

#endif
