/* load_report: see load_report.h. Words for people, one flat JSON object for scripts. */
#include "load_report.h"

#include "proc_stat.h"
#include <stdio.h>
#include <sys/resource.h>

struct faults {
    uint64_t n_lost;
    uint64_t n_duplicate;
    uint64_t n_overtaken;
    uint64_t n_changed;
};

struct figures {
    double seconds;
    double rate;
    double cpu_s;
    double own_cpu_s;
    double per_cpu_s;
    double p50_us;
    double p99_us;
    double open_s;
    double open_cpu_s;
    double pss_each_bytes;
};

static double own_cpu(void)
{
    struct rusage usage = {0};
    (void)getrusage(RUSAGE_SELF, &usage);
    return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
           (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
}

static bool complain_of(pid_t pid)
{
    (void)fprintf(stderr, "postern-load: cannot read /proc of process %d\n", (int)pid);
    return false;
}

bool load_report_read(const struct load *load, struct load_reading *reading)
{
    *reading = (struct load_reading){.at_ns = load_now_ns(), .own_cpu_s = own_cpu()};
    for (unsigned i = 0; i < load->opts.n_pids; i++) {
        double cpu_s = 0;
        if (!proc_stat_cpu(load->opts.pids[i], &cpu_s)) {
            return complain_of(load->opts.pids[i]);
        }
        reading->cpu_s += cpu_s;
    }
    /* Behind all CPU times: adding up a big process's pages takes a while. */
    for (unsigned i = 0; i < load->opts.n_pids; i++) {
        if (!proc_stat_pss(load->opts.pids[i], &reading->pss_each[i])) {
            return complain_of(load->opts.pids[i]);
        }
        reading->pss_bytes += reading->pss_each[i];
    }
    return true;
}

static double seconds_between(const struct load_reading *from, const struct load_reading *to)
{
    return (double)(to->at_ns - from->at_ns) / 1e9;
}

/* Sessions opened after the first reading of memory. */
static unsigned grown_by(const struct load *load)
{
    return load->opts.connections > 1 ? load->opts.connections - 1 : 1;
}

static struct figures figures_of(const struct load *load)
{
    struct figures f = {
        .seconds = seconds_between(&load->started, &load->ended),
        .cpu_s = load->ended.cpu_s - load->started.cpu_s,
        .own_cpu_s = load->ended.own_cpu_s - load->started.own_cpu_s,
        .p50_us = (double)histogram_at(&load->latency_ns, 0.5) / 1e3,
        .p99_us = (double)histogram_at(&load->latency_ns, 0.99) / 1e3,
        .open_s = seconds_between(&load->before, &load->opened),
        .open_cpu_s = load->opened.cpu_s - load->before.cpu_s,
    };
    f.rate = f.seconds > 0 ? (double)load->n_messages / f.seconds : 0;
    f.per_cpu_s = f.cpu_s > 0 ? (double)load->n_messages / f.cpu_s : 0;
    f.pss_each_bytes = (double)(load->ended.pss_bytes - load->before.pss_bytes) / grown_by(load);
    return f;
}

static struct faults faults_of(const struct load *load)
{
    struct faults sum = {0};
    for (unsigned i = 0; i < load->opts.connections; i++) {
        const struct load_echo_book *book = &load->users[i].book;
        sum.n_lost += book->n;
        sum.n_duplicate += book->n_duplicate;
        sum.n_overtaken += book->n_overtaken;
        sum.n_changed += book->n_changed;
    }
    return sum;
}

static void print_memory(const struct load *load, const struct figures *f, FILE *out)
{
    const struct load_reading *before = &load->before;
    const struct load_reading *ended = &load->ended;
    if (load->opts.n_pids == 0) {
        return;
    }
    (void)fprintf(out, "PSS before      %lld KiB\nPSS after       %lld KiB\n",
                  (long long)before->pss_bytes / 1024, (long long)ended->pss_bytes / 1024);
    (void)fprintf(out, "PSS per session %.0f B", f->pss_each_bytes);
    for (unsigned i = 0; i < load->opts.n_pids; i++) {
        (void)fprintf(out, "%s process %d: %.0f B", i == 0 ? " =" : " +", (int)load->opts.pids[i],
                      (double)(ended->pss_each[i] - before->pss_each[i]) / grown_by(load));
    }
    (void)fputc('\n', out);
}

static void print_echo(const struct load *load, const struct figures *f, FILE *out)
{
    (void)fprintf(out, "in flight       %u of %u B each\n", load->opts.inflight,
                  load->opts.size_bytes);
    (void)fprintf(out, "messages        %llu in %.2f s = %.0f/s\n",
                  (unsigned long long)load->n_messages, f->seconds, f->rate);
    if (load->opts.n_pids > 0) {
        (void)fprintf(out, "server CPU      %.2f s = %.0f messages per server CPU second\n",
                      f->cpu_s, f->per_cpu_s);
    }
    (void)fprintf(out, "client CPU      %.2f s\n", f->own_cpu_s);
    (void)fprintf(out, "latency         p50 %.0f us, p99 %.0f us (closed loop, send to echo)\n",
                  f->p50_us, f->p99_us);
}

static void print_words(const struct load *load, const struct figures *f,
                        const struct faults *faults, FILE *out)
{
    (void)fprintf(out, "transport       %s%s, %s\n", load->opts.transport_name,
                  load->opts.wants_tls ? " over TLS" : "", load->opts.is_idle ? "idle" : "echo");
    (void)fprintf(out, "connections     %u opened in %.2f s", load->n_open, f->open_s);
    if (load->opts.n_pids > 0) {
        (void)fprintf(out, " with %.2f s of server CPU", f->open_cpu_s);
    }
    (void)fprintf(out, ", %u failed\n", load->n_failed);
    if (!load->opts.is_idle) {
        print_echo(load, f, out);
    } else if (load->opts.n_pids > 0) {
        (void)fprintf(out, "server CPU      %.2f s in %.2f s of idling\n", f->cpu_s, f->seconds);
    }
    (void)fprintf(out, "faults          lost %llu, duplicated %llu, overtaken %llu, changed %llu\n",
                  (unsigned long long)faults->n_lost, (unsigned long long)faults->n_duplicate,
                  (unsigned long long)faults->n_overtaken, (unsigned long long)faults->n_changed);
    print_memory(load, f, out);
}

static void print_json(const struct load *load, const struct figures *f,
                       const struct faults *faults)
{
    const struct load_opts *opts = &load->opts;
    printf("{\"transport\":\"%s\",\"tls\":%s,\"mode\":\"%s\",\"connections\":%u,\"inflight\":%u,"
           "\"size_bytes\":%u,",
           opts->transport_name, opts->wants_tls ? "true" : "false",
           opts->is_idle ? "idle" : "echo", opts->connections, opts->inflight, opts->size_bytes);
    printf("\"opened\":%u,\"failed\":%u,\"open_s\":%.3f,\"open_cpu_s\":%.3f,", load->n_open,
           load->n_failed, f->open_s, f->open_cpu_s);
    printf("\"messages\":%llu,\"seconds\":%.3f,\"messages_per_s\":%.0f,\"server_cpu_s\":%.3f,"
           "\"client_cpu_s\":%.3f,\"messages_per_server_cpu_s\":%.0f,",
           (unsigned long long)load->n_messages, f->seconds, f->rate, f->cpu_s, f->own_cpu_s,
           f->per_cpu_s);
    printf("\"latency_p50_us\":%.1f,\"latency_p99_us\":%.1f,\"latency_kind\":\"closed loop\",",
           f->p50_us, f->p99_us);
    printf("\"lost\":%llu,\"duplicated\":%llu,\"overtaken\":%llu,\"changed\":%llu,",
           (unsigned long long)faults->n_lost, (unsigned long long)faults->n_duplicate,
           (unsigned long long)faults->n_overtaken, (unsigned long long)faults->n_changed);
    printf("\"pss_before_bytes\":%lld,\"pss_after_bytes\":%lld,\"pss_bytes_per_connection\":%.1f,"
           "\"pss_bytes_per_connection_by_process\":[",
           (long long)load->before.pss_bytes, (long long)load->ended.pss_bytes, f->pss_each_bytes);
    for (unsigned i = 0; i < opts->n_pids; i++) {
        printf("%s%.1f", i == 0 ? "" : ",",
               (double)(load->ended.pss_each[i] - load->before.pss_each[i]) / grown_by(load));
    }
    printf("]}\n");
}

bool load_report_print(const struct load *load)
{
    struct figures f = figures_of(load);
    struct faults faults = faults_of(load);
    print_words(load, &f, &faults, load->opts.wants_json ? stderr : stdout);
    if (load->opts.wants_json) {
        print_json(load, &f, &faults);
    }
    return load->n_failed == 0 && faults.n_lost == 0 && faults.n_duplicate == 0 &&
           faults.n_overtaken == 0 && faults.n_changed == 0;
}
