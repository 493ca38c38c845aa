// An application behind load balancers, and a program with a way of its own to it: what the engine does on the load balancers the program
// does for its own calls, in the same step, because it takes part in it.
//
//     cc -o application application.c $(pkg-config --cflags --libs failover)
//     ./application failover.toml app1=10.0.0.21:80 app2=10.0.0.22:80
#include <arpa/inet.h>
#include <failover.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

enum { SERVERS = 16, EVERY_MS = 200, CALL_S = 1 };

struct server {
    char name[64];
    struct sockaddr_in address;
};
// Written before the start, only read afterwards.
static struct server servers[SERVERS];
static int count;

// Where the program's own calls go; -1 while nobody should be called. The highest failover seen: a lower one is of an engine that is not
// in charge any more.
static atomic_int active = -1;
static atomic_uint_fast64_t seen;
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

static int find_server(const char *name)
{
    for (int i = 0; i < count; i++)
        if (name != NULL && strcmp(servers[i].name, name) == 0)
            return i;
    return -1;
}

static bool is_outdated(const failover_event *task)
{
    uint_fast64_t generation = failover_event_generation(task);
    uint_fast64_t highest = atomic_load(&seen);
    while (generation > highest && !atomic_compare_exchange_weak(&seen, &highest, generation))
        ;
    return generation < highest;
}

// The steps "route_in" and "route_restore": this server gets the traffic. Asked again it finds its work done.
static int32_t send_to(void *userdata, const failover_event *task, char *detail)
{
    (void)userdata;
    const char *name = failover_event_server(task);
    int server = find_server(name);
    if (is_outdated(task) || server < 0) {
        snprintf(detail, FAILOVER_DETAIL_SIZE, server < 0 ? "no address was given for it" : "there was a later failover");
        return FAILOVER_TASK_NO_EFFECT;
    }
    atomic_store(&active, server);
    snprintf(detail, FAILOVER_DETAIL_SIZE, "own calls go to %s", name);
    return FAILOVER_TASK_DONE;
}

// The step "route_out": this server is not called any more.
static int32_t take_from(void *userdata, const failover_event *task, char *detail)
{
    (void)userdata;
    int server = find_server(failover_event_server(task));
    if (is_outdated(task)) {
        snprintf(detail, FAILOVER_DETAIL_SIZE, "there was a later failover");
        return FAILOVER_TASK_NO_EFFECT;
    }
    atomic_compare_exchange_strong(&active, &server, -1);
    return FAILOVER_TASK_DONE;
}

// A call of the program's own. What came of it for the engine, and in `who` which server answered.
static int32_t call(const struct server *server, char who[64])
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct timeval limit = {.tv_sec = CALL_S};
    if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit) != 0 ||
        setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit) != 0) {
        if (fd >= 0)
            close(fd);
        return FAILOVER_OUTCOME_ERROR; // this program's trouble
    }
    static const char request[] = "GET / HTTP/1.0\r\n\r\n";
    char answer[1024] = "";
    int32_t outcome = FAILOVER_OUTCOME_REFUSED;
    if (connect(fd, (const struct sockaddr *)&server->address, sizeof server->address) == 0) {
        outcome = FAILOVER_OUTCOME_TIMEOUT;
        ssize_t size = send(fd, request, sizeof request - 1, MSG_NOSIGNAL) > 0 ? recv(fd, answer, sizeof answer - 1, 0) : -1;
        if (size == 0)
            outcome = FAILOVER_OUTCOME_RESET;
        else if (size > 0)
            outcome = strncmp(answer + 8, " 200", 4) == 0 ? FAILOVER_OUTCOME_OK : FAILOVER_OUTCOME_REJECTED;
        answer[size > 0 ? size : 0] = '\0';
    }
    close(fd);
    const char *header = strstr(answer, "X-Server: ");
    if (header == NULL || sscanf(header, "X-Server: %63s", who) != 1)
        who[0] = '\0';
    return outcome;
}

// One line whenever somebody else answers.
static void call_and_tell(const failover_engine *engine, const char *service)
{
    static char before[64];
    char who[64];
    int server = atomic_load(&active);
    if (server < 0)
        return;
    int32_t outcome = call(&servers[server], who);
    (void)failover_engine_report_outcome(engine, service, servers[server].name, outcome, NULL);
    if (outcome == FAILOVER_OUTCOME_OK && strcmp(who, before) != 0)
        printf("answered by %s\n", strcpy(before, who));
}

static int failed(const char *what, failover_error *error)
{
    fprintf(stderr, "application: %s: %s\n", what, failover_error_message(error));
    failover_error_free(error);
    return 1;
}

static void stop(int number)
{
    (void)number;
    asked_to_stop = 1;
}

// Who is active is known before the first failover too: from the status. True once a failover would go through.
static bool learn(const failover_engine *engine, const char *service)
{
    failover_status *status = NULL;
    if (failover_engine_status(engine, &status, NULL) != FAILOVER_OK)
        return false;
    int none = -1;
    if (atomic_load(&seen) == 0)
        atomic_compare_exchange_strong(&active, &none, find_server(failover_status_primary(status, service)));
    bool ready = failover_status_would_fail_over(status, service);
    failover_status_free(status);
    return ready;
}

int main(int argc, char **argv)
{
    setvbuf(stdout, NULL, _IOLBF, 0);
    for (int i = 2; i < argc; i++)
        if (!add_server(argv[i]))
            argc = 0;
    if (argc < 3) {
        fprintf(stderr, "usage: application CONFIG SERVER=ADDRESS:PORT...\n");
        return 2;
    }
    struct sigaction act = {.sa_handler = stop};
    sigaction(SIGINT, &act, NULL);
    sigaction(SIGTERM, &act, NULL);

    failover_engine *engine = NULL;
    failover_error *error = NULL;
    if (failover_engine_new_from_file(argv[1], &engine, &error) != FAILOVER_OK)
        return failed("the configuration", error);
    if (failover_engine_register_action(engine, "route_out", take_from, NULL, NULL, &error) != FAILOVER_OK ||
        failover_engine_register_action(engine, "route_in", send_to, NULL, NULL, &error) != FAILOVER_OK ||
        failover_engine_register_action(engine, "route_restore", send_to, NULL, NULL, &error) != FAILOVER_OK ||
        failover_engine_start(engine, &error) != FAILOVER_OK) {
        int code = failed("the start", error);
        failover_engine_free(engine);
        return code;
    }
    // The one service of this configuration.
    failover_status *status = NULL;
    char service[64] = "";
    if (failover_engine_status(engine, &status, NULL) == FAILOVER_OK)
        snprintf(service, sizeof service, "%s", failover_status_service(status, 0));
    failover_status_free(status);

    bool was_ready = false;
    while (!asked_to_stop) {
        bool ready = learn(engine, service);
        if (ready && !was_ready)
            puts("ready: another server would take over");
        was_ready = ready;
        call_and_tell(engine, service);
        poll(NULL, 0, EVERY_MS);
    }
    int code = 0;
    if (failover_engine_stop(engine, 60000, &error) != FAILOVER_OK)
        code = failed("the stop", error);
    failover_engine_free(engine);
    return code;
}
