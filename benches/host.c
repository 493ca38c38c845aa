// What the engine costs a host program in C: prints numbers, asserts nothing. host LIBRARY FOLDER
#define _GNU_SOURCE
#include <dlfcn.h>
#include <failover.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { EVENTS = 4000, CALLS = 100000, SERVERS = 16 };

// By name at run time, so that loading the library can be measured too.
#define FUNCTIONS(F)                                                                                                    \
    F(failover_engine_new) F(failover_engine_start) F(failover_engine_stop) F(failover_engine_free) F(failover_engine_status) \
    F(failover_status_free) F(failover_engine_next_event) F(failover_event_free) F(failover_event_kind)                 \
    F(failover_event_time_ns) F(failover_engine_on_event) F(failover_status_json) F(failover_error_message)
#define DECLARE(name) static __typeof__(&name) p_##name;
FUNCTIONS(DECLARE)

static uint64_t now(clockid_t clock)
{
    struct timespec at;
    clock_gettime(clock, &at);
    return (uint64_t)at.tv_sec * 1000000000u + (uint64_t)at.tv_nsec;
}

static long resident_kb(void)
{
    long pages = 0, resident = 0;
    FILE *file = fopen("/proc/self/statm", "r");
    if (file == NULL || fscanf(file, "%ld %ld", &pages, &resident) != 2)
        resident = 0;
    if (file != NULL)
        fclose(file);
    return resident * (sysconf(_SC_PAGESIZE) / 1024);
}

static int by_size(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

static uint64_t took[EVENTS];
static atomic_int taken;

static void print_latency(const char *what, int count)
{
    qsort(took, (size_t)count, sizeof *took, by_size);
    printf("observation to host, %-22s p50 %7.1f µs   p99 %7.1f µs   of %d\n", what, (double)took[count / 2] / 1e3,
           (double)took[count * 99 / 100] / 1e3, count);
}

// The event's own moment, to a microsecond, is when the engine learned of the observation.
static void take(const failover_event *event)
{
    uint64_t here = now(CLOCK_REALTIME);
    int at = taken;
    if (p_failover_event_kind(event) != FAILOVER_EVENT_OBSERVED || at == EVENTS)
        return;
    uint64_t there = p_failover_event_time_ns(event);
    took[at] = here > there ? here - there : 0;
    taken = at + 1;
}

static void in_callback(void *userdata, const failover_event *event)
{
    (void)userdata;
    take(event);
}

static failover_engine *make(const char *folder, int number)
{
    static char config[8192];
    char state[4096];
    snprintf(state, sizeof state, "%s/%d", folder, number);
    mkdir(state, 0700);
    int length = snprintf(config, sizeof config,
                          "{\"version\":1,\"state_dir\":\"%s\",\"services\":[{\"name\":\"site\",\"kind\":\"application\",\"servers\":[", state);
    for (int i = 0; i < SERVERS; i++)
        length += snprintf(config + length, sizeof config - (size_t)length, "%s{\"name\":\"web%d\",\"role\":\"%s\",\"host\":\"127.0.0.%d\"}",
                           i > 0 ? "," : "", i, i > 0 ? "standby" : "primary", i + 1);
    length += snprintf(config + length, sizeof config - (size_t)length, "],\"checks\":[");
    for (int i = 0; i < SERVERS; i++)
        length += snprintf(config + length, sizeof config - (size_t)length,
                           "%s{\"name\":\"page%d\",\"server\":\"web%d\",\"kind\":\"scripted\",\"interval\":\"50ms\",\"fast_interval\":\"20ms\","
                           "\"timeout\":\"900ms\",\"answers\":[\"up\"]}",
                           i > 0 ? "," : "", i, i);
    length += snprintf(config + length, sizeof config - (size_t)length, "]}]}");
    failover_engine *engine = NULL;
    failover_error *error = NULL;
    if (p_failover_engine_new(config, (size_t)length, &engine, &error) != FAILOVER_OK) {
        fprintf(stderr, "%s\n", p_failover_error_message(error));
        exit(1);
    }
    return engine;
}

int main(int argc, char **argv)
{
    if (argc != 3)
        return 2;
    setvbuf(stdout, NULL, _IOLBF, 0);
    long bare = resident_kb();
    uint64_t began = now(CLOCK_MONOTONIC);
    void *library = dlopen(argv[1], RTLD_NOW | RTLD_LOCAL);
    if (library == NULL) {
        fprintf(stderr, "%s\n", dlerror());
        return 1;
    }
#define LOOK_UP(name) *(void **)&p_##name = dlsym(library, #name);
    FUNCTIONS(LOOK_UP)
    uint64_t loaded = now(CLOCK_MONOTONIC);
    failover_engine *engine = make(argv[2], 0);
    if (p_failover_engine_start(engine, NULL) != FAILOVER_OK)
        return 1;
    failover_event *event = NULL;
    if (p_failover_engine_next_event(engine, 10000, &event, NULL) != FAILOVER_OK)
        return 1;
    p_failover_event_free(event);
    uint64_t running = now(CLOCK_MONOTONIC);
    printf("load %.1f ms, then to a running engine %.1f ms\n", (double)(loaded - began) / 1e6, (double)(running - loaded) / 1e6);

    while (taken < EVENTS && p_failover_engine_next_event(engine, 10000, &event, NULL) == FAILOVER_OK) {
        take(event);
        p_failover_event_free(event);
    }
    print_latency("next_event", taken);
    printf("memory added to a bare process: %.1f MB resident\n", (double)(resident_kb() - bare) / 1024);

    began = now(CLOCK_MONOTONIC);
    for (int i = 0; i < CALLS; i++) {
        failover_status *status = NULL;
        p_failover_engine_status(engine, &status, NULL);
        p_failover_status_free(status);
    }
    printf("status %.2f µs", (double)(now(CLOCK_MONOTONIC) - began) / CALLS / 1e3);
    began = now(CLOCK_MONOTONIC);
    for (int i = 0; i < CALLS / 10; i++) {
        failover_status *status = NULL;
        p_failover_engine_status(engine, &status, NULL);
        (void)p_failover_status_json(status);
        p_failover_status_free(status);
    }
    printf(", with its JSON %.2f µs", (double)(now(CLOCK_MONOTONIC) - began) / (CALLS / 10.0) / 1e3);
    while (p_failover_engine_next_event(engine, 0, &event, NULL) == FAILOVER_OK)
        p_failover_event_free(event);
    began = now(CLOCK_MONOTONIC);
    for (int i = 0; i < CALLS; i++)
        if (p_failover_engine_next_event(engine, 0, &event, NULL) == FAILOVER_OK)
            p_failover_event_free(event);
    printf(", next_event with nothing there %.3f µs\n", (double)(now(CLOCK_MONOTONIC) - began) / CALLS / 1e3);
    p_failover_engine_stop(engine, 10000, NULL);
    p_failover_engine_free(engine);

    engine = make(argv[2], 1);
    taken = 0;
    p_failover_engine_on_event(engine, in_callback, NULL, NULL, NULL);
    p_failover_engine_start(engine, NULL);
    while (taken < EVENTS)
        usleep(10000);
    p_failover_engine_stop(engine, 10000, NULL);
    p_failover_engine_free(engine);
    print_latency("callback", taken);
    return 0;
}
