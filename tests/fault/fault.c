/* fault: see fault.h. */
#include "fault/fault.h"

#include <cjson/cJSON.h>
#include <dlfcn.h>
#include <event2/event.h>
#include <execinfo.h>
#include <openssl/crypto.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum {
    STACK_DEPTH = 32,
    MAX_COMMAND_BYTES = 1024,
    FIRST_MS = 1000000 /* the virtual clock begins somewhere above every timeout */
};

static const char *const names[] = {
#define X(suffix, name) name,
    FAULT_CALL_MAP(X)
#undef X
};

static struct {
    struct fault_plan plan;
    unsigned n_calls[FAULT_CALLS];
    unsigned n_runs;
    bool is_inside;
    bool has_struck;
    void *stack[STACK_DEPTH];
    int stack_depth;
    uint64_t progress;
    uint64_t now_ms;
    long n_blocks;
    long n_ssl_blocks;
} fault = {.now_ms = FIRST_MS};

/* -- injecting -------------------------------------------------------------------------------- */

static bool is_memory(enum fault_call call)
{
    return call == FAULT_MEMORY || call == FAULT_SSL_MEMORY;
}

bool fault_strikes(enum fault_call call)
{
    if (!fault.is_inside) {
        return false;
    }
    unsigned i = ++fault.n_calls[call];
    if (fault.plan.n == 0) {
        return false;
    }
    if (fault.has_struck) {
        /* Memory that has run out has run out for all. */
        bool is_same = call == fault.plan.call || (is_memory(call) && is_memory(fault.plan.call));
        return fault.plan.persists && is_same;
    }
    if (call != fault.plan.call || i != fault.plan.n) {
        return false;
    }
    fault.has_struck = true;
    fault.is_inside = false; /* backtrace may allocate */
    fault.stack_depth = backtrace(fault.stack, STACK_DEPTH);
    fault.is_inside = true;
    return true;
}

int fault_error(void)
{
    return fault.plan.error;
}

void fault_arm(const struct fault_plan *plan)
{
    fault.plan = *plan;
    fault.has_struck = false;
    fault.n_runs++;
    for (int i = 0; i < FAULT_CALLS; i++) {
        fault.n_calls[i] = 0;
    }
}

void fault_lift(void)
{
    fault.plan.n = 0;
}

bool fault_has_struck(void)
{
    return fault.has_struck;
}

bool fault_is_of_memory(void)
{
    return fault.plan.call == FAULT_MEMORY;
}

unsigned fault_run(void)
{
    return fault.n_runs;
}

unsigned fault_n_calls(enum fault_call call)
{
    return fault.n_calls[call];
}

const char *fault_call_name(enum fault_call call)
{
    return names[call];
}

/* Names of this program's functions, from its debug information. */
static bool print_names(void)
{
    char command[MAX_COMMAND_BYTES];
    Dl_info self;
    if (dladdr((const void *)names, &self) == 0) {
        return false;
    }
    size_t n =
        (size_t)snprintf(command, sizeof command, "addr2line -sfpe /proc/%d/exe", (int)getpid());
    for (int i = 0; i < fault.stack_depth && n < sizeof command - 32; i++) {
        Dl_info info;
        if (dladdr(fault.stack[i], &info) != 0 && info.dli_fbase == self.dli_fbase) {
            size_t offset = (size_t)((char *)fault.stack[i] - (char *)self.dli_fbase) - 1;
            n += (size_t)snprintf(command + n, sizeof command - n, " %zx", offset);
        }
    }
    return system(command) == 0;
}

void fault_print_stack(void)
{
    (void)fflush(stdout);
    if (fault.has_struck && !print_names()) {
        backtrace_symbols_fd(fault.stack, fault.stack_depth, STDOUT_FILENO);
    }
}

void fault_enter(void)
{
    fault.is_inside = true;
}

void fault_leave(void)
{
    fault.is_inside = false;
}

void fault_count_progress(void)
{
    fault.progress++;
}

uint64_t fault_progress(void)
{
    return fault.progress;
}

uint64_t fault_now_ms(void)
{
    return fault.now_ms;
}

void fault_pass_ms(uint64_t ms)
{
    fault.now_ms += ms;
}

/* -- memory ----------------------------------------------------------------------------------- */

static void *counted(void *block, long *n_blocks)
{
    *n_blocks += block != NULL;
    return block;
}

static void *resized(void *block, size_t n, enum fault_call call, long *n_blocks)
{
    if (fault_strikes(call)) {
        return NULL;
    }
    void *fresh = realloc(block, n);
    *n_blocks += block == NULL && fresh != NULL;
    return fresh;
}

void *fault_malloc(size_t n)
{
    return fault_strikes(FAULT_MEMORY) ? NULL : counted(malloc(n), &fault.n_blocks);
}

void *fault_calloc(size_t n, size_t size)
{
    return fault_strikes(FAULT_MEMORY) ? NULL : counted(calloc(n, size), &fault.n_blocks);
}

void *fault_realloc(void *block, size_t n)
{
    return resized(block, n, FAULT_MEMORY, &fault.n_blocks);
}

void fault_free(void *block)
{
    fault.n_blocks -= block != NULL;
    free(block);
}

static void *ssl_malloc(size_t n, const char *file, int line)
{
    (void)file;
    (void)line;
    return fault_strikes(FAULT_SSL_MEMORY) ? NULL : counted(malloc(n), &fault.n_ssl_blocks);
}

static void *ssl_realloc(void *block, size_t n, const char *file, int line)
{
    (void)file;
    (void)line;
    return resized(block, n, FAULT_SSL_MEMORY, &fault.n_ssl_blocks);
}

static void ssl_free(void *block, const char *file, int line)
{
    (void)file;
    (void)line;
    fault.n_ssl_blocks -= block != NULL;
    free(block);
}

long fault_n_blocks(void)
{
    return fault.n_blocks;
}

long fault_n_ssl_blocks(void)
{
    return fault.n_ssl_blocks;
}

/* libevent says on stderr what it also returns. */
static void drop_line(int severity, const char *text)
{
    (void)severity;
    (void)text;
}

void fault_init(void)
{
    static cJSON_Hooks json = {fault_malloc, fault_free};
    if (CRYPTO_set_mem_functions(ssl_malloc, ssl_realloc, ssl_free) != 1) {
        (void)fputs("OpenSSL has allocated before us\n", stderr);
        exit(2);
    }
    event_set_log_callback(drop_line);
    event_set_mem_functions(fault_malloc, fault_realloc, fault_free);
    cJSON_InitHooks(&json);
    (void)backtrace(fault.stack, STACK_DEPTH); /* loads its library now */
}
