// An engine whose events go to a function: prints what happens, and who is primary, until SIGINT or SIGTERM.
//
//     cc -o callback callback.c $(pkg-config --cflags --libs failover)
//     ./callback failover.toml
#include <failover.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

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

// Called on a thread of the engine, one event at a time. Asking the engine is allowed here; waiting for it is not.
static void tell(void *userdata, const failover_event *event)
{
    const failover_engine *engine = userdata;
    const char *service = failover_event_service(event);
    if (failover_event_severity(event) >= FAILOVER_SEVERITY_INFO)
        printf("%s %s: %s\n", failover_event_kind_name(failover_event_kind(event)), service ? service : "-",
               failover_event_message(event));
    switch (failover_event_kind(event)) {
    case FAILOVER_EVENT_PRIMARY_KNOWN:
    case FAILOVER_EVENT_STANDBY_READY:
    case FAILOVER_EVENT_READINESS_CHANGED:
    case FAILOVER_EVENT_FAILOVER_COMPLETED:
        print_status(engine, service);
        break;
    default: // Kinds that are not in this program's header may come from a newer library.
        break;
    }
    fflush(stdout);
}

static int failed(const char *what, failover_error *error)
{
    fprintf(stderr, "callback: %s: %s\n", what, failover_error_message(error));
    failover_error_free(error);
    return 1;
}

int main(int argc, char **argv)
{
    if (argc != 2) {
        fprintf(stderr, "usage: callback CONFIG\n");
        return 2;
    }
    // Waited for below; blocked before there is any other thread.
    sigset_t signals;
    sigemptyset(&signals);
    sigaddset(&signals, SIGINT);
    sigaddset(&signals, SIGTERM);
    pthread_sigmask(SIG_BLOCK, &signals, NULL);

    failover_engine *engine = NULL;
    failover_error *error = NULL;
    if (failover_engine_new_from_file(argv[1], &engine, &error) != FAILOVER_OK)
        return failed("the configuration", error);
    // Registered before the start it misses nothing.
    if (failover_engine_on_event(engine, tell, engine, NULL, &error) != FAILOVER_OK ||
        failover_engine_start(engine, &error) != FAILOVER_OK) {
        int code = failed("the start", error);
        failover_engine_free(engine);
        return code;
    }

    int number = 0;
    sigwait(&signals, &number);
    printf("%s: stopping\n", strsignal(number));
    fflush(stdout);

    // A failover behind its point of no return is finished first. FAILOVER_TIMEOUT would mean: not over yet, ask again.
    int code = 0;
    if (failover_engine_stop(engine, 60000, &error) != FAILOVER_OK)
        code = failed("the stop", error);
    failover_engine_free(engine);
    return code;
}
