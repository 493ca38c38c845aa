// A check written by the program, and the program's own calls as one more observer. The configuration has checks of kind "host" with
// the function "accepts"; they are answered here by a connection to the address that the command line gives for the server.
//
//     cc -o host_check host_check.c $(pkg-config --cflags --libs failover)
//     ./host_check failover.toml db1=10.0.0.1:5432 db2=10.0.0.2:5432
#include <arpa/inet.h>
#include <errno.h>
#include <failover.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { SERVERS = 16, MARGIN_MS = 20, CALL_MS = 500 };

struct server {
    char name[64];
    struct sockaddr_in address;
};
// Written before the start, only read afterwards: the function below is called by several threads at once.
static struct server servers[SERVERS];
static int count;
static volatile sig_atomic_t asked_to_stop;

// NAME=ADDRESS:PORT, the address in numbers: a name would have to be looked up, and that has no deadline.
static bool add_server(const char *text)
{
    char host[64];
    unsigned port;
    struct server *server = &servers[count];
    if (count == SERVERS || sscanf(text, "%63[^=]=%63[0-9.]:%u", server->name, host, &port) != 3 || port > 65535)
        return false;
    server->address.sin_family = AF_INET;
    server->address.sin_port = htons((uint16_t)port);
    count++;
    return inet_pton(AF_INET, host, &server->address.sin_addr) == 1;
}

static const struct server *find_server(const char *name)
{
    for (int i = 0; i < count; i++)
        if (name != NULL && strcmp(servers[i].name, name) == 0)
            return &servers[i];
    return NULL;
}

// 0, or why there is no connection; ETIMEDOUT when the time is up.
static int try_to_connect(const struct server *server, int timeout_ms)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return errno;
    int wrong = 0;
    if (connect(fd, (const struct sockaddr *)&server->address, sizeof server->address) != 0)
        wrong = errno;
    if (wrong == EINPROGRESS) {
        struct pollfd wait = {.fd = fd, .events = POLLOUT};
        socklen_t size = sizeof wrong;
        if (poll(&wait, 1, timeout_ms) != 1)
            wrong = ETIMEDOUT;
        else if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &wrong, &size) != 0)
            wrong = errno;
    }
    close(fd);
    return wrong;
}

// A check. Called on threads of the engine that are kept for this: it may wait, but not beyond the deadline.
static int32_t accepts(void *userdata, const failover_event *task, char *detail)
{
    (void)userdata;
    const struct server *server = find_server(failover_event_server(task));
    if (server == NULL) {
        snprintf(detail, FAILOVER_DETAIL_SIZE, "no address was given for this server");
        return FAILOVER_TASK_UNKNOWN; // not asked: says nothing about the server
    }
    int left = (int)failover_event_deadline_ms(task) - MARGIN_MS;
    int wrong = try_to_connect(server, left > 0 ? left : 0);
    if (wrong == 0)
        return FAILOVER_TASK_UP;
    snprintf(detail, FAILOVER_DETAIL_SIZE, "%s", strerror(wrong));
    switch (wrong) {
    case ECONNREFUSED:
    case ECONNRESET:
    case ETIMEDOUT:
    case EHOSTUNREACH:
        return FAILOVER_TASK_DOWN;
    default: // EMFILE and the like are this program's trouble, not the server's
        return FAILOVER_TASK_UNKNOWN;
    }
}

// One call of the program's own, to whoever is primary now.
static void call_and_report(const failover_engine *engine)
{
    failover_status *status = NULL;
    if (failover_engine_status(engine, &status, NULL) != FAILOVER_OK)
        return;
    const char *service = failover_status_service(status, 0);
    const char *primary = failover_status_primary(status, NULL);
    const struct server *server = find_server(primary);
    if (server != NULL) {
        int32_t outcome;
        switch (try_to_connect(server, CALL_MS)) {
        case 0:
            outcome = FAILOVER_OUTCOME_OK;
            break;
        case ECONNREFUSED:
            outcome = FAILOVER_OUTCOME_REFUSED;
            break;
        case ETIMEDOUT:
            outcome = FAILOVER_OUTCOME_TIMEOUT;
            break;
        default:
            outcome = FAILOVER_OUTCOME_ERROR;
        }
        (void)failover_engine_report_outcome(engine, service, primary, outcome, NULL);
    }
    failover_status_free(status);
}

// One line for each change of the primary, and of what would happen if it died now.
static void print_change(const failover_engine *engine)
{
    static char known[128];
    failover_status *status = NULL;
    if (failover_engine_status(engine, &status, NULL) != FAILOVER_OK)
        return;
    char line[sizeof known];
    const char *primary = failover_status_primary(status, NULL);
    snprintf(line, sizeof line, "primary of %s: %s; if it died now: %s", failover_status_service(status, 0),
             primary ? primary : "not known", failover_status_would_fail_over(status, NULL) ? "a failover" : "none");
    if (strcmp(line, known) != 0)
        puts(strcpy(known, line));
    failover_status_free(status);
}

static void stop(int number)
{
    (void)number;
    asked_to_stop = 1;
}

static int failed(const char *what, failover_error *error)
{
    fprintf(stderr, "host_check: %s: %s\n", what, failover_error_message(error));
    failover_error_free(error);
    return 1;
}

int main(int argc, char **argv)
{
    bool is_right = argc > 2;
    for (int i = 2; i < argc && is_right; i++)
        is_right = add_server(argv[i]);
    if (!is_right) {
        fprintf(stderr, "usage: host_check CONFIG NAME=ADDRESS:PORT…\n");
        return 2;
    }
    setvbuf(stdout, NULL, _IOLBF, 0);
    signal(SIGINT, stop);
    signal(SIGTERM, stop);

    failover_engine *engine = NULL;
    failover_error *error = NULL;
    if (failover_engine_new_from_file(argv[1], &engine, &error) != FAILOVER_OK)
        return failed("the configuration", error);
    if (failover_engine_register_check(engine, "accepts", accepts, NULL, NULL, &error) != FAILOVER_OK ||
        failover_engine_start(engine, &error) != FAILOVER_OK) {
        int code = failed("the start", error);
        failover_engine_free(engine);
        return code;
    }

    while (!asked_to_stop) {
        failover_event *event = NULL;
        int32_t code = failover_engine_next_event(engine, 100, &event, &error);
        if (code == FAILOVER_OK) {
            if (failover_event_severity(event) >= FAILOVER_SEVERITY_INFO)
                printf("%s: %s\n", failover_event_kind_name(failover_event_kind(event)), failover_event_message(event));
            failover_event_free(event);
        } else if (code == FAILOVER_EMPTY) {
            call_and_report(engine);
        } else {
            failed("the events", error);
            break;
        }
        print_change(engine);
    }
    int code = 0;
    if (failover_engine_stop(engine, 60000, &error) != FAILOVER_OK)
        code = failed("the stop", error);
    failover_engine_free(engine);
    return code;
}
