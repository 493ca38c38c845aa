// An engine inside a loop of one's own: poll(2) on its descriptor beside the program's others. Holds the program's traffic while a
// failover runs, and lets it back in steps, so that a thousand clients do not fall on the new primary at once.
//
//     cc -o event_loop event_loop.c $(pkg-config --cflags --libs failover)
//     ./event_loop failover.toml
#include <errno.h>
#include <failover.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

enum { STEP_PERCENT = 25, STEP_MS = 100 };

static int admitted = 100; // percent of the program's requests that are let through
static int ramp;           // a timer: the next step

static void admit(int percent, const char *why)
{
    admitted = percent;
    printf("traffic %d %%: %s\n", percent, why);
}

// After one step and up to half a step more: programs that resume together would load the new primary together.
static void arm_ramp(void)
{
    long millis = STEP_MS + rand() % (STEP_MS / 2);
    struct itimerspec after = {.it_value = {.tv_sec = millis / 1000, .tv_nsec = millis % 1000 * 1000000}};
    timerfd_settime(ramp, 0, &after, NULL);
}

static void disarm_ramp(void)
{
    struct itimerspec never = {0};
    timerfd_settime(ramp, 0, &never, NULL);
}

static void step_up(void)
{
    uint64_t times;
    if (read(ramp, &times, sizeof times) != sizeof times)
        return;
    admit(admitted + STEP_PERCENT > 100 ? 100 : admitted + STEP_PERCENT, "one step more");
    if (admitted < 100)
        arm_ramp();
}

static void print_status(const failover_engine *engine, const char *service)
{
    failover_status *status = NULL;
    if (failover_engine_status(engine, &status, NULL) != FAILOVER_OK)
        return;
    const char *primary = failover_status_primary(status, service);
    printf("primary of %s: %s; if it died now: %s\n", service, primary ? primary : "not known",
           failover_status_would_fail_over(status, service) ? "a failover" : "none");
    failover_status_free(status);
}

static void handle(const failover_engine *engine, const failover_event *event)
{
    if (failover_event_severity(event) >= FAILOVER_SEVERITY_INFO)
        printf("%s: %s\n", failover_event_kind_name(failover_event_kind(event)), failover_event_message(event));
    switch (failover_event_kind(event)) {
    case FAILOVER_EVENT_PRIMARY_KNOWN:
    case FAILOVER_EVENT_STANDBY_READY:
    case FAILOVER_EVENT_READINESS_CHANGED:
        print_status(engine, failover_event_service(event));
        break;
    case FAILOVER_EVENT_FAILOVER_STARTED: // hold: what waits here needs no new connection in a moment
        disarm_ramp();
        admit(0, "a failover runs");
        break;
    case FAILOVER_EVENT_FAILOVER_COMPLETED: // resume at a rate
        print_status(engine, failover_event_service(event));
        admit(STEP_PERCENT, "the new primary serves");
        arm_ramp();
        break;
    case FAILOVER_EVENT_ROLLED_BACK: // the old primary serves on; its caches are warm
    case FAILOVER_EVENT_MANUAL_INTERVENTION: // nobody knows when: let requests fail fast instead of piling up
        disarm_ramp();
        admit(100, "no failover runs");
        break;
    default:
        break;
    }
}

// Takes what waits. False after the last event of a stopped engine.
static bool drain(const failover_engine *engine)
{
    for (;;) {
        failover_event *event = NULL;
        int32_t code = failover_engine_next_event(engine, 0, &event, NULL);
        if (code == FAILOVER_EMPTY)
            return true;
        if (code != FAILOVER_OK)
            return false;
        handle(engine, event);
        failover_event_free(event);
    }
}

static int failed(const char *what, failover_error *error)
{
    fprintf(stderr, "event_loop: %s: %s\n", what, failover_error_message(error));
    failover_error_free(error);
    return 1;
}

int main(int argc, char **argv)
{
    if (argc != 2) {
        fprintf(stderr, "usage: event_loop CONFIG\n");
        return 2;
    }
    setvbuf(stdout, NULL, _IOLBF, 0);
    srand((unsigned)getpid());
    sigset_t signals;
    sigemptyset(&signals);
    sigaddset(&signals, SIGINT);
    sigaddset(&signals, SIGTERM);
    sigprocmask(SIG_BLOCK, &signals, NULL);
    int stopping = signalfd(-1, &signals, SFD_CLOEXEC);
    ramp = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
    if (stopping < 0 || ramp < 0) {
        fprintf(stderr, "event_loop: %s\n", strerror(errno));
        return 1;
    }

    failover_engine *engine = NULL;
    failover_error *error = NULL;
    int events = -1;
    if (failover_engine_new_from_file(argv[1], &engine, &error) != FAILOVER_OK)
        return failed("the configuration", error);
    if (failover_engine_event_fd(engine, &events, &error) != FAILOVER_OK || failover_engine_start(engine, &error) != FAILOVER_OK) {
        int code = failed("the start", error);
        failover_engine_free(engine);
        return code;
    }

    struct pollfd waits[] = {{.fd = events, .events = POLLIN}, {.fd = ramp, .events = POLLIN}, {.fd = stopping, .events = POLLIN}};
    bool runs = true;
    while (runs) {
        if (poll(waits, 3, -1) < 0 && errno != EINTR)
            break;
        if (waits[0].revents != 0)
            runs = drain(engine);
        if (waits[1].revents != 0)
            step_up();
        if (waits[2].revents != 0) {
            // Does not wait: the loop goes on until the engine's last event.
            struct signalfd_siginfo signal;
            if (read(stopping, &signal, sizeof signal) == sizeof signal)
                failover_engine_request_stop(engine);
        }
    }
    int code = 0;
    if (failover_engine_stop(engine, 60000, &error) != FAILOVER_OK)
        code = failed("the stop", error);
    failover_engine_free(engine);
    close(ramp);
    close(stopping);
    return code;
}
