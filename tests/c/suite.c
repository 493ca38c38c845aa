// The C interface, used as a C program uses it; no server is needed. `suite FOLDER [TEST…]`: the folder is for state directories.
// CYCLES= start/stop cycles of the test of leaks (50); SKIP= a test that is left out.
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <failover.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define LONG 60000u

static const char *folder;
static int states;

static void fail(const char *file, int line, const char *format, ...)
{
    va_list values;
    fprintf(stderr, "%s:%d: ", file, line);
    va_start(values, format);
    vfprintf(stderr, format, values);
    va_end(values);
    fputc('\n', stderr);
    exit(1);
}

#define CHECK(condition)                                       \
    do {                                                       \
        if (!(condition))                                      \
            fail(__FILE__, __LINE__, "wrong: %s", #condition); \
    } while (0)

// The code is the one expected; the error, where there is one, says something, and is freed.
#define CODE(expected, call)                                                                                     \
    do {                                                                                                         \
        failover_error *error = NULL;                                                                            \
        int32_t code_ = (call);                                                                                  \
        if (code_ != (expected))                                                                                 \
            fail(__FILE__, __LINE__, "%s: %s, not %s: %s", #call, failover_code_name(code_),                     \
                 failover_code_name(expected), error ? failover_error_message(error) : "no error");              \
        if (code_ == FAILOVER_OK || code_ == FAILOVER_EMPTY)                                                     \
            CHECK(error == NULL);                                                                                \
        else if (error != NULL) {                                                                                \
            CHECK(failover_error_code(error) == code_ && strlen(failover_error_message(error)) > 0);             \
            CHECK(strstr(failover_error_json(error), failover_code_name(code_)) != NULL);                        \
        }                                                                                                        \
        failover_error_free(error);                                                                              \
    } while (0)

static const char *const HEAD =
    "{\"version\":1,\"state_dir\":\"%s\",\"services\":[{\"name\":\"site\",\"kind\":\"application\","
    "\"servers\":[{\"name\":\"web1\",\"role\":\"primary\",\"host\":\"127.0.0.1\"}],"
    "\"checks\":[{\"name\":\"page\",\"server\":\"web1\",\"interval\":\"50ms\",\"timeout\":\"%s\",%s}]}]}";
static const char *const UP = "\"kind\":\"scripted\",\"answers\":[\"up\"]";
static const char *const FLAPS = "\"kind\":\"scripted\",\"answers\":[\"up\",\"up\",\"down\",\"down\",\"down\",\"up\",\"up\"]";
static const char *const HOST = "\"kind\":\"host\"";
// One application on two servers, both well, with a route that a command moves.
static const char *const SWITCHABLE =
    "{\"version\":1,\"state_dir\":\"%s\",\"services\":[{\"name\":\"site\",\"kind\":\"application\","
    "\"servers\":[{\"name\":\"web1\",\"role\":\"primary\",\"host\":\"127.0.0.1\"},{\"name\":\"web2\",\"host\":\"127.0.0.2\"}],"
    "\"checks\":[{\"name\":\"page1\",\"server\":\"web1\",\"interval\":\"50ms\",\"kind\":\"scripted\",\"answers\":[\"up\"]},"
    "{\"name\":\"page2\",\"server\":\"web2\",\"interval\":\"50ms\",\"kind\":\"scripted\",\"answers\":[\"up\"]}],"
    "\"route\":{\"command\":[{\"name\":\"balancer\",\"command\":[\"/bin/true\"]}]}}]}";

// A configuration with a state directory of its own, in a buffer that the next call overwrites.
static const char *config_in(const char *state, const char *timeout, const char *check)
{
    static char text[8192];
    snprintf(text, sizeof text, HEAD, state, timeout, check);
    return text;
}

static const char *config(const char *check)
{
    char state[4096];
    snprintf(state, sizeof state, "%s/state-%d-%d", folder, (int)getpid(), states++);
    CHECK(mkdir(state, 0700) == 0);
    return config_in(state, "1.5s", check);
}

static failover_engine *make(const char *text)
{
    failover_engine *engine = NULL;
    CODE(FAILOVER_OK, failover_engine_new(text, strlen(text), &engine, &error));
    CHECK(engine != NULL);
    return engine;
}

static failover_engine *started(const char *check)
{
    failover_engine *engine = make(config(check));
    CODE(FAILOVER_OK, failover_engine_start(engine, &error));
    return engine;
}

static void stop_and_free(failover_engine *engine)
{
    CODE(FAILOVER_OK, failover_engine_stop(engine, LONG, &error));
    failover_engine_free(engine);
}

// The next event of a kind; others are dropped.
static failover_event *wait_for(failover_engine *engine, int32_t kind)
{
    for (;;) {
        failover_event *event = NULL;
        CODE(FAILOVER_OK, failover_engine_next_event(engine, LONG, &event, &error));
        if (failover_event_kind(event) == kind)
            return event;
        failover_event_free(event);
    }
}

static void lifecycle(void)
{
    failover_engine *engine = make(config(FLAPS));
    CODE(FAILOVER_STATE, failover_engine_confirm(engine, "site", &error));
    CODE(FAILOVER_OK, failover_engine_start(engine, &error));
    CODE(FAILOVER_STATE, failover_engine_start(engine, &error));
    uint64_t last = 0;
    int seen = 0;
    for (;;) {
        failover_event *event = NULL;
        CODE(FAILOVER_OK, failover_engine_next_event(engine, LONG, &event, &error));
        CHECK(failover_event_seq(event) > last);
        last = failover_event_seq(event);
        CHECK(failover_event_mono_ns(event) > 0 && failover_event_time_ns(event) > 1600000000000000000u);
        CHECK(strcmp(failover_event_kind_name(failover_event_kind(event)), "unknown") != 0);
        CHECK(strstr(failover_event_json(event), failover_event_kind_name(failover_event_kind(event))) != NULL);
        int is_health = failover_event_kind(event) == FAILOVER_EVENT_HEALTH_CHANGED;
        if (is_health) {
            CHECK(strcmp(failover_event_service(event), "site") == 0 && strcmp(failover_event_server(event), "web1") == 0);
            seen++;
        }
        failover_event_free(event);
        if (seen == 3)
            break;
    }
    failover_status *status = NULL;
    CODE(FAILOVER_OK, failover_engine_status(engine, &status, &error));
    CHECK(failover_status_service_count(status) == 1);
    CHECK(strcmp(failover_status_state(status, "site"), "normal") == 0 || strlen(failover_status_state(status, NULL)) > 0);
    CHECK(failover_status_state(status, "nobody") == NULL);
    // A single application server is watched, never failed over.
    CHECK(!failover_status_would_fail_over(status, "site") && !failover_status_would_fail_over(status, "nobody"));
    CHECK(strstr(failover_status_json(status), "\"site\"") != NULL);
    CHECK(strstr(failover_status_metrics(status, false), "failover_checks_total{service=\"site\"") != NULL);
    CHECK(strstr(failover_status_metrics(status, false), "failover_check_answers_total") == NULL);
    CHECK(strstr(failover_status_metrics(status, true), "failover_check_answers_total") != NULL);
    failover_status_free(status);
    CODE(FAILOVER_OK, failover_engine_status_of(engine, "site", &status, &error));
    CHECK(failover_status_service_count(status) == 1 && strcmp(failover_status_service(status, 0), "site") == 0);
    failover_status_free(status);
    status = NULL;
    CODE(FAILOVER_INVALID_ARG, failover_engine_status_of(engine, "nobody", &status, &error));
    CHECK(status == NULL);
    CODE(FAILOVER_OK, failover_engine_stop(engine, LONG, &error));
    CODE(FAILOVER_OK, failover_engine_stop(engine, 0, &error));
    failover_event *event = wait_for(engine, FAILOVER_EVENT_ENGINE_STOPPED);
    failover_event_free(event);
    event = NULL;
    CODE(FAILOVER_STATE, failover_engine_next_event(engine, 0, &event, &error));
    CHECK(event == NULL);
    CODE(FAILOVER_STATE, failover_engine_start(engine, &error));
    CODE(FAILOVER_STATE, failover_engine_pause(engine, NULL, &error));
    CODE(FAILOVER_OK, failover_engine_status(engine, &status, &error));
    failover_status_free(status);
    failover_engine_free(engine);
}

static int is_in_status(const failover_engine *engine, const char *words)
{
    failover_status *status = NULL;
    CODE(FAILOVER_OK, failover_engine_status(engine, &status, &error));
    int is = strstr(failover_status_json(status), words) != NULL;
    failover_status_free(status);
    return is;
}

static void commands(void)
{
    failover_engine *engine = started(UP);
    CODE(FAILOVER_OK, failover_engine_pause(engine, "site", &error));
    failover_event_free(wait_for(engine, FAILOVER_EVENT_OPERATOR_COMMAND));
    CODE(FAILOVER_OK, failover_engine_resume(engine, NULL, &error));
    CODE(FAILOVER_OK, failover_engine_pause_with(engine, NULL, "a disk is swapped", FAILOVER_FOREVER, &error));
    CHECK(is_in_status(engine, "\"reason\":\"a disk is swapped\",\"left_ms\":null"));
    CODE(FAILOVER_OK, failover_engine_pause_with(engine, "site", NULL, 1, &error));
    while (is_in_status(engine, "\"paused\":true"))
        failover_event_free(wait_for(engine, FAILOVER_EVENT_OBSERVED));
    CODE(FAILOVER_INVALID_ARG, failover_engine_pause_with(engine, "site", "two\nlines", 1, &error));
    CODE(FAILOVER_INVALID_ARG, failover_engine_pause_with(engine, "site", NULL, 0, &error));
    CODE(FAILOVER_INVALID_ARG, failover_engine_pause_with(engine, "site", NULL, FAILOVER_FOREVER - 1, &error));
    CODE(FAILOVER_REJECTED, failover_engine_confirm(engine, "site", &error));
    CODE(FAILOVER_REJECTED, failover_engine_confirm_all(engine, &error));
    CODE(FAILOVER_REJECTED, failover_engine_force(engine, "site", NULL, FAILOVER_LOSS_CONFIGURED, &error));
    CODE(FAILOVER_INVALID_ARG, failover_engine_reset(engine, "nobody", &error));
    CODE(FAILOVER_INVALID_ARG, failover_engine_force(engine, "site", "nobody", 0, &error));
    CODE(FAILOVER_REJECTED, failover_engine_switchover(engine, "site", NULL, 0, NULL, &error));
    CODE(FAILOVER_INVALID_ARG, failover_engine_switchover(engine, "site", NULL, 1, NULL, &error));
    CODE(FAILOVER_REJECTED, failover_engine_switchover_cancel(engine, "site", &error));
    uint64_t planned = 4711;
    uint64_t soon = (uint64_t)time(NULL) * 1000 + 3600000;
    CODE(FAILOVER_OK, failover_engine_switchover(engine, "site", NULL, soon, &planned, &error));
    CHECK(planned == 0 && is_in_status(engine, "\"planned_switchover\":{\"to\":null"));
    CODE(FAILOVER_OK, failover_engine_switchover_cancel(engine, "site", &error));
    CHECK(is_in_status(engine, "\"planned_switchover\":null"));
    failover_report *preflight = NULL;
    CODE(FAILOVER_OK, failover_engine_switchover_preflight(engine, "site", NULL, &preflight, &error));
    CHECK(!failover_report_passed(preflight) && strstr(failover_report_json(preflight), "\"level\":\"refused\"") != NULL);
    failover_report_free(preflight);
    CODE(FAILOVER_REJECTED, failover_engine_uncordon(engine, "site", "web1", &error));
    CODE(FAILOVER_OK, failover_engine_cordon(engine, "site", "web1", &error));
    CHECK(is_in_status(engine, "\"cordoned\":true"));
    CODE(FAILOVER_OK, failover_engine_uncordon(engine, "site", "web1", &error));
    CODE(FAILOVER_INVALID_ARG, failover_engine_cordon(engine, "site", "nobody", &error));
    // An application has nothing to be rewound.
    CODE(FAILOVER_REJECTED, failover_engine_rejoin(engine, "site", "web1", 0, &error));
    CODE(FAILOVER_INVALID_ARG, failover_engine_rejoin(engine, "site", "nobody", 1, &error));
    // An application has no primary to adopt.
    CODE(FAILOVER_REJECTED, failover_engine_adopt(engine, "site", "web1", &error));
    CODE(FAILOVER_INVALID_ARG, failover_engine_adopt(engine, "site", "nobody", &error));
    CODE(FAILOVER_INVALID_ARG, failover_engine_adopt(engine, "nobody", "web1", &error));
    CODE(FAILOVER_OK, failover_engine_report_outcome(engine, "site", "web1", FAILOVER_OUTCOME_TIMEOUT, &error));
    CODE(FAILOVER_INVALID_ARG, failover_engine_report_outcome(engine, "site", "web1", 99, &error));
    CODE(FAILOVER_INVALID_ARG, failover_engine_report_outcome(engine, "site", "nobody", FAILOVER_OUTCOME_OK, &error));
    for (;;) {
        failover_status *status = NULL;
        CODE(FAILOVER_OK, failover_engine_status(engine, &status, &error));
        int told = strstr(failover_status_json(status), "\"timeout\":1") != NULL;
        failover_status_free(status);
        if (told)
            break;
        failover_event *event = NULL;
        (void)failover_engine_next_event(engine, 10, &event, NULL);
        failover_event_free(event);
    }
    const char *other = config(UP);
    CODE(FAILOVER_STATE, failover_engine_reload(engine, other, strlen(other), &error));
    CODE(FAILOVER_CONFIG, failover_engine_reload(engine, "{}", 2, &error));
    CODE(FAILOVER_CONFIG, failover_engine_reload_from_file(engine, "/nowhere/failover.toml", &error));
    stop_and_free(engine);
}

// Its text is copied: what a report says, for as long as the next call of this.
static const char *said(failover_report *report, int passed)
{
    static char text[1 << 16];
    CHECK(report != NULL && failover_report_passed(report) == (passed != 0));
    snprintf(text, sizeof text, "%s", failover_report_json(report));
    failover_report_free(report);
    return text;
}

// The one record of a decision that an engine left.
static void replayed(const char *state)
{
    char path[8192];
    snprintf(path, sizeof path, "%s/evidence", state);
    DIR *evidence = opendir(path);
    CHECK(evidence != NULL);
    int records = 0;
    for (struct dirent *entry; (entry = readdir(evidence)) != NULL;) {
        if (strstr(entry->d_name, ".json") == NULL)
            continue;
        snprintf(path, sizeof path, "%s/evidence/%s", state, entry->d_name);
        failover_report *report = NULL;
        CODE(FAILOVER_OK, failover_replay(path, &report, &error));
        const char *text = said(report, 1);
        CHECK(strstr(text, "\"same\":true") && strstr(text, "\"service\":\"site\"") && strstr(text, "\"differences\":[]"));
        records++;
    }
    closedir(evidence);
    CHECK(records > 0);
    failover_report *report = NULL;
    CODE(FAILOVER_INVALID_ARG, failover_replay(state, &report, &error));
    CHECK(report == NULL);
}

static void an_order(void)
{
    char state[4096], text[8192];
    snprintf(state, sizeof state, "%s/state-%d-%d", folder, (int)getpid(), states++);
    CHECK(mkdir(state, 0700) == 0);
    snprintf(text, sizeof text, SWITCHABLE, state);
    failover_engine *engine = make(text);
    CODE(FAILOVER_OK, failover_engine_start(engine, &error));
    for (int ready = 0; !ready;) {
        failover_event_free(wait_for(engine, FAILOVER_EVENT_OBSERVED));
        failover_status *status = NULL;
        CODE(FAILOVER_OK, failover_engine_status(engine, &status, &error));
        ready = failover_status_would_fail_over(status, "site");
        failover_status_free(status);
    }
    static const char *const REMEDY = "\"remedy\":\"failover uncordon site web2, once it may be promoted\"";
    CODE(FAILOVER_OK, failover_engine_cordon(engine, "site", "web2", &error));
    failover_event *refused = wait_for(engine, FAILOVER_EVENT_STANDBY_NOT_READY);
    CHECK(strstr(failover_event_json(refused), REMEDY) != NULL && is_in_status(engine, REMEDY));
    failover_event_free(refused);
    CODE(FAILOVER_OK, failover_engine_uncordon(engine, "site", "web2", &error));
    uint64_t generation = 0;
    failover_report *preflight = NULL;
    CODE(FAILOVER_OK, failover_engine_switchover_preflight(engine, "site", "web2", &preflight, &error));
    CHECK(failover_report_passed(preflight));
    failover_report_free(preflight);
    CODE(FAILOVER_OK, failover_engine_switchover(engine, "site", "web2", 0, &generation, &error));
    CHECK(generation == 1);
    failover_event *done = wait_for(engine, FAILOVER_EVENT_FAILOVER_COMPLETED);
    CHECK(failover_event_generation(done) == generation);
    // It is about the new one.
    CHECK(strcmp(failover_event_server(done), "web2") == 0 && strcmp(failover_event_host(done), "127.0.0.2") == 0);
    CHECK(failover_event_port(done) == 5432);
    failover_event_free(done);
    failover_status *status = NULL;
    CODE(FAILOVER_OK, failover_engine_status(engine, &status, &error));
    CHECK(strcmp(failover_status_primary_host(status, "site"), "127.0.0.2") == 0);
    CHECK(failover_status_primary_port(status, NULL) == 5432 && failover_status_primary_port(status, "nobody") == 0);
    CHECK(failover_status_primary_host(status, "nobody") == NULL);
    failover_status_free(status);
    generation = 4711;
    CODE(FAILOVER_REJECTED, failover_engine_force_with(engine, "site", "web2", FAILOVER_LOSS_CONFIGURED, &generation, &error));
    CHECK(generation == 4711);
    stop_and_free(engine);
    replayed(state);
}

static void configurations(void)
{
    failover_report *report = NULL;
    const char *good = config(UP);
    CODE(FAILOVER_OK, failover_config_validate(good, strlen(good), &report, &error));
    CHECK(strstr(said(report, 1), "\"valid\":true"));
    static const char *const WRONG = "{\"version\":1,\"servces\":[]}";
    CODE(FAILOVER_OK, failover_config_validate(WRONG, strlen(WRONG), &report, &error));
    const char *text = said(report, 0);
    CHECK(strstr(text, "/servces") && strstr(text, "\"file\":null"));
    CODE(FAILOVER_OK, failover_config_validate_from_file("/nowhere/failover.toml", &report, &error));
    text = said(report, 0);
    CHECK(strstr(text, "\"file\":\"/nowhere/failover.toml\"") && strstr(text, "cannot be read"));
    CODE(FAILOVER_OK, failover_config_effective(good, strlen(good), &report, &error));
    CHECK(strstr(said(report, 1), "\"success_threshold\""));
    CODE(FAILOVER_CONFIG, failover_config_effective(WRONG, strlen(WRONG), &report, &error));
    CODE(FAILOVER_CONFIG, failover_config_effective_from_file("/nowhere/failover.toml", &report, &error));
    failover_engine *engine = make(config(HOST));
    CODE(FAILOVER_OK, failover_engine_config(engine, &report, &error));
    text = said(report, 1);
    CHECK(strstr(text, "\"page\"") && strstr(text, "\"success_threshold\""));
    failover_engine_free(engine);
}

static int32_t check_again(void *userdata, const failover_event *task, char *detail)
{
    failover_report *report = NULL;
    CHECK(strcmp(failover_event_host(task), "127.0.0.1") == 0 && failover_event_port(task) == 5432);
    int32_t code = failover_engine_check_all(*(failover_engine **)userdata, LONG, &report, NULL);
    snprintf(detail, FAILOVER_DETAIL_SIZE, "%s", failover_code_name(code));
    return report == NULL ? FAILOVER_TASK_UP : FAILOVER_TASK_DOWN;
}

struct asking {
    failover_engine *engine;
    int32_t code;
};

static void *ask(void *argument)
{
    struct asking *asking = argument;
    failover_report *report = NULL;
    asking->code = failover_engine_check_all(asking->engine, FAILOVER_FOREVER, &report, NULL);
    CHECK(report == NULL);
    return NULL;
}

static void reports(void)
{
    failover_report *report = NULL;
    failover_engine *engine = make(config(HOST));
    CODE(FAILOVER_OK, failover_engine_register_check(engine, "page", check_again, &engine, NULL, &error));
    // Before the start and beside a running engine.
    for (int running = 0; running < 2; running++) {
        CODE(FAILOVER_OK, failover_engine_check_all(engine, LONG, &report, &error));
        const char *text = said(report, 1);
        CHECK(strstr(text, "\"all_up\":true") && strstr(text, "\"message\":\"reentrant\""));
        CODE(FAILOVER_OK, failover_engine_doctor(engine, running ? "site" : NULL, LONG, &report, &error));
        text = said(report, 1);
        CHECK(strstr(text, "\"service\":\"site\"") && strstr(text, "\"ready\":true"));
        if (!running)
            CODE(FAILOVER_OK, failover_engine_start(engine, &error));
    }
    report = NULL;
    CODE(FAILOVER_INVALID_ARG, failover_engine_doctor(engine, "nobody", LONG, &report, &error));
    CODE(FAILOVER_OK, failover_engine_stop(engine, LONG, &error));
    CODE(FAILOVER_STATE, failover_engine_check_all(engine, LONG, &report, &error));
    CHECK(report == NULL);
    failover_engine_free(engine);

    // A server that takes connections and never says a word.
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t len = sizeof at;
    int silent = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    CHECK(bind(silent, (struct sockaddr *)&at, len) == 0 && listen(silent, 8) == 0);
    CHECK(getsockname(silent, (struct sockaddr *)&at, &len) == 0);
    char check[100], state[4096];
    snprintf(check, sizeof check, "\"kind\":\"http\",\"url\":\"http://127.0.0.1:%d/\"", ntohs(at.sin_port));
    snprintf(state, sizeof state, "%s/state-%d-%d", folder, (int)getpid(), states++);
    CHECK(mkdir(state, 0700) == 0);
    engine = make(config_in(state, "60s", check));
    CODE(FAILOVER_TIMEOUT, failover_engine_check_all(engine, 50, &report, &error));
    close(accept4(silent, NULL, NULL, SOCK_CLOEXEC));
    struct asking asking = {.engine = engine};
    pthread_t asker;
    CHECK(pthread_create(&asker, NULL, ask, &asking) == 0);
    int asked = accept4(silent, NULL, NULL, SOCK_CLOEXEC);
    // Also before the start, and as a signal handler may.
    failover_engine_request_stop(engine);
    CHECK(pthread_join(asker, NULL) == 0 && asking.code == FAILOVER_STATE && report == NULL);
    close(asked);
    close(silent);
    stop_and_free(engine);
}

static void errors_tell_everything(void)
{
    const char *wrong = "{\"version\":1,\"state_dir\":\"relative\",\"servces\":[],\"services\":[{\"name\":\"a b\"}]}";
    failover_engine *engine = NULL;
    failover_error *error = NULL;
    CHECK(failover_engine_new(wrong, strlen(wrong), &engine, &error) == FAILOVER_CONFIG && engine == NULL);
    CHECK(failover_error_path(error) != NULL && failover_error_path(error)[0] == '/');
    CHECK(strstr(failover_error_json(error), "servces") && strstr(failover_error_json(error), "state_dir"));
    CHECK(!failover_error_is_retriable(error));
    failover_error_free(error);
    CODE(FAILOVER_CONFIG, failover_engine_new_from_file("/nowhere/failover.toml", &engine, &error));
    // The codes and the kinds can be listed.
    size_t count = 0;
    for (int32_t code; (code = failover_code_at(count)) <= 0; count++)
        CHECK(strcmp(failover_code_name(code), "unknown") != 0 && strlen(failover_code_description(code)) > 0);
    CHECK(count == 15 && strcmp(failover_code_name(FAILOVER_OK), "ok") == 0);
    CHECK(strcmp(failover_code_name(12345), "unknown") == 0 && failover_code_description(-12345) != NULL);
    for (count = 0; failover_event_kind_at(count) != 0; count++)
        ;
    CHECK(count == FAILOVER_EVENT_NOTIFY_TEST);
    CHECK(failover_abi_version() == FAILOVER_ABI_VERSION);
    int major, minor, patch;
    CHECK(sscanf(failover_version(), "%d.%d.%d", &major, &minor, &patch) == 3);
    CHECK(FAILOVER_VERSION_NUMBER == major * 1000000 + minor * 1000 + patch);
}

static int32_t answer_down(void *userdata, const failover_event *task, char *detail)
{
    CHECK(failover_event_kind(task) == FAILOVER_EVENT_TASK_CHECK && failover_event_deadline_ms(task) > 0);
    snprintf(detail, FAILOVER_DETAIL_SIZE, "call %d", ++*(int *)userdata);
    return FAILOVER_TASK_DOWN;
}

static void freed(void *userdata)
{
    ++*(int *)userdata;
}

static void checks_of_the_host(void)
{
    int calls = 0, frees = 0;
    failover_engine *engine = make(config(HOST));
    CODE(FAILOVER_INVALID_ARG, failover_engine_register_check(engine, "nobody", answer_down, &frees, freed, &error));
    CHECK(frees == 1);
    CODE(FAILOVER_NULL_ARG, failover_engine_register_check(engine, "page", NULL, &frees, freed, &error));
    CHECK(frees == 2);
    CODE(FAILOVER_OK, failover_engine_register_check(engine, "page", answer_down, &frees, freed, &error));
    CODE(FAILOVER_OK, failover_engine_register_check(engine, "page", answer_down, &calls, NULL, &error));
    CHECK(frees == 3);
    CODE(FAILOVER_OK, failover_engine_start(engine, &error));
    failover_event *event = wait_for(engine, FAILOVER_EVENT_HEALTH_CHANGED);
    CHECK(strstr(failover_event_message(event), "call "));
    failover_event_free(event);
    CODE(FAILOVER_STATE, failover_engine_register_check(engine, "page", answer_down, &frees, freed, &error));
    CHECK(frees == 4);
    CODE(FAILOVER_STATE, failover_engine_offer_check(engine, "page", &error));
    stop_and_free(engine);
}

// A check of the host that nobody answers is refused with the start, and with the reload that brings it.
static void checks_that_nobody_answers(void)
{
    int calls = 0;
    failover_engine *engine = make(config(HOST));
    CHECK(is_in_status(engine, "{\"name\":\"page\",\"answered_by\":null}"));
    CODE(FAILOVER_INVALID_ARG, failover_engine_start(engine, &error));
    CODE(FAILOVER_INVALID_ARG, failover_engine_offer_check(engine, "pgae", &error));
    CODE(FAILOVER_OK, failover_engine_offer_check(engine, "page", &error));
    CHECK(is_in_status(engine, "{\"name\":\"page\",\"answered_by\":\"tasks\"}"));
    CODE(FAILOVER_OK, failover_engine_start(engine, &error));
    stop_and_free(engine);

    char state[4096];
    snprintf(state, sizeof state, "%s/state-%d-%d", folder, (int)getpid(), states++);
    CHECK(mkdir(state, 0700) == 0);
    engine = make(config_in(state, "1.5s", UP));
    CODE(FAILOVER_OK, failover_engine_start(engine, &error));
    const char *other = config_in(state, "1.5s", HOST);
    CODE(FAILOVER_INVALID_ARG, failover_engine_reload(engine, other, strlen(other), &error));
    CODE(FAILOVER_OK, failover_engine_register_check(engine, "page", answer_down, &calls, NULL, &error));
    CODE(FAILOVER_OK, failover_engine_reload(engine, other, strlen(other), &error));
    for (;;) {
        failover_event *event = wait_for(engine, FAILOVER_EVENT_OBSERVED);
        int answered = strstr(failover_event_message(event), "call ") != NULL;
        failover_event_free(event);
        if (answered)
            break;
    }
    stop_and_free(engine);
}

static void tasks(void)
{
    failover_engine *engine = make(config(HOST));
    CODE(FAILOVER_OK, failover_engine_offer_check(engine, "page", &error));
    CODE(FAILOVER_OK, failover_engine_start(engine, &error));
    failover_event *task = wait_for(engine, FAILOVER_EVENT_TASK_CHECK);
    uint64_t id = failover_event_task_id(task);
    CHECK(id != 0 && strstr(failover_event_json(task), "\"check\":\"page\""));
    failover_event_free(task);
    CODE(FAILOVER_OK, failover_task_complete(engine, id, FAILOVER_TASK_UP, "fine", 4, &error));
    CODE(FAILOVER_UNKNOWN_TASK, failover_task_complete(engine, id, FAILOVER_TASK_UP, NULL, 0, &error));
    CODE(FAILOVER_UNKNOWN_TASK, failover_task_complete(engine, UINT64_MAX, FAILOVER_TASK_UP, NULL, 0, &error));
    // A result that does not exist is no success.
    for (;;) {
        task = wait_for(engine, FAILOVER_EVENT_TASK_CHECK);
        id = failover_event_task_id(task);
        failover_event_free(task);
        CODE(FAILOVER_OK, failover_task_complete(engine, id, 77, "\xc3\xa4", 2, &error));
        failover_event *seen = wait_for(engine, FAILOVER_EVENT_OBSERVED);
        int unknown = strstr(failover_event_message(seen), "unknown") != NULL;
        failover_event_free(seen);
        if (unknown)
            break;
    }
    CODE(FAILOVER_STATE, failover_engine_offer_action(engine, "fence", &error));
    stop_and_free(engine);
}

struct heard {
    failover_engine *engine;
    pthread_mutex_t lock;
    pthread_cond_t news;
    int events, stops, frees, stop_code, ended;
    int free_inside;
};

static void hear(void *userdata, const failover_event *event)
{
    struct heard *heard = userdata;
    pthread_mutex_lock(&heard->lock);
    heard->events++;
    failover_engine *engine = heard->engine;
    int first = heard->events == 1;
    int inside = first && heard->free_inside;
    if (failover_event_kind(event) == FAILOVER_EVENT_ENGINE_STOPPED)
        heard->stops++;
    pthread_cond_broadcast(&heard->news);
    pthread_mutex_unlock(&heard->lock);
    if (inside) {
        failover_engine_free(engine);
    } else if (first && engine != NULL) {
        int32_t code = failover_engine_stop(engine, LONG, NULL);
        pthread_mutex_lock(&heard->lock);
        heard->stop_code = code;
        pthread_mutex_unlock(&heard->lock);
        // Everything else is allowed here.
        failover_status *status = NULL;
        CODE(FAILOVER_OK, failover_engine_status(engine, &status, &error));
        failover_status_free(status);
        CODE(FAILOVER_OK, failover_engine_pause(engine, NULL, &error));
        failover_engine_request_stop(engine);
    }
}

static void heard_freed(void *userdata)
{
    struct heard *heard = userdata;
    pthread_mutex_lock(&heard->lock);
    heard->frees++;
    heard->ended = 1;
    pthread_cond_broadcast(&heard->news);
    pthread_mutex_unlock(&heard->lock);
}

static void callbacks(void)
{
    struct heard heard = {.lock = PTHREAD_MUTEX_INITIALIZER, .news = PTHREAD_COND_INITIALIZER};
    failover_engine *engine = make(config(UP));
    heard.engine = engine;
    CODE(FAILOVER_NULL_ARG, failover_engine_on_event(engine, NULL, &heard, heard_freed, &error));
    CHECK(heard.frees == 1);
    CODE(FAILOVER_OK, failover_engine_on_event(engine, hear, &heard, heard_freed, &error));
    failover_event *event = NULL;
    int fd = -1;
    CODE(FAILOVER_STATE, failover_engine_next_event(engine, 0, &event, &error));
    CODE(FAILOVER_STATE, failover_engine_event_fd(engine, &fd, &error));
    CODE(FAILOVER_OK, failover_engine_start(engine, &error));
    // The first event asks for the stop, from inside.
    pthread_mutex_lock(&heard.lock);
    while (heard.stops == 0)
        pthread_cond_wait(&heard.news, &heard.lock);
    pthread_mutex_unlock(&heard.lock);
    CODE(FAILOVER_OK, failover_engine_stop(engine, LONG, &error));
    CHECK(heard.stop_code == FAILOVER_REENTRANT && heard.stops == 1);
    failover_engine_free(engine);
    CHECK(heard.frees == 2);
    // A consumer that polls keeps a callback out.
    engine = make(config(UP));
    CODE(FAILOVER_EMPTY, failover_engine_next_event(engine, 0, &event, &error));
    CODE(FAILOVER_STATE, failover_engine_on_event(engine, hear, &heard, heard_freed, &error));
    CHECK(heard.frees == 3);
    failover_engine_free(engine);
}

static void freed_in_a_callback(void)
{
    static struct heard heard = {.lock = PTHREAD_MUTEX_INITIALIZER, .news = PTHREAD_COND_INITIALIZER, .free_inside = 1};
    heard.engine = make(config(UP));
    CODE(FAILOVER_OK, failover_engine_on_event(heard.engine, hear, &heard, heard_freed, &error));
    CODE(FAILOVER_OK, failover_engine_start(heard.engine, &error));
    pthread_mutex_lock(&heard.lock);
    while (!heard.ended)
        pthread_cond_wait(&heard.news, &heard.lock);
    CHECK(heard.frees == 1);
    pthread_mutex_unlock(&heard.lock);
}

static void event_loop(void)
{
    failover_engine *engine = make(config(UP));
    int fd = -1;
    CODE(FAILOVER_OK, failover_engine_event_fd(engine, &fd, &error));
    struct pollfd watched = {.fd = fd, .events = POLLIN};
    CHECK(poll(&watched, 1, 0) == 0);
    CODE(FAILOVER_OK, failover_engine_start(engine, &error));
    int seen = 0;
    while (seen < 10) {
        CHECK(poll(&watched, 1, (int)LONG) == 1);
        failover_event *event = NULL;
        int32_t code;
        while ((code = failover_engine_next_event(engine, 0, &event, NULL)) == FAILOVER_OK) {
            failover_event_free(event);
            seen++;
        }
        CHECK(code == FAILOVER_EMPTY);
    }
    CODE(FAILOVER_OK, failover_engine_stop(engine, LONG, &error));
    CHECK(poll(&watched, 1, 0) == 1);
    failover_engine_free(engine);
}

static void *wake_soon(void *engine)
{
    CODE(FAILOVER_OK, failover_engine_wake(engine, &error));
    return NULL;
}

static void woken(void)
{
    failover_engine *engine = make(config(UP));
    pthread_t thread;
    failover_event *event = NULL;
    CHECK(pthread_create(&thread, NULL, wake_soon, engine) == 0);
    CODE(FAILOVER_EMPTY, failover_engine_next_event(engine, FAILOVER_FOREVER, &event, &error));
    pthread_join(thread, NULL);
    failover_engine_free(engine);
}

static void two_engines(void)
{
    failover_engine *one = started(UP), *two = started(FLAPS);
    failover_event_free(wait_for(one, FAILOVER_EVENT_HEALTH_CHANGED));
    failover_event_free(wait_for(two, FAILOVER_EVENT_HEALTH_CHANGED));
    stop_and_free(one);
    failover_event_free(wait_for(two, FAILOVER_EVENT_OBSERVED));
    stop_and_free(two);
    // On one state directory there is one.
    char state[4096];
    snprintf(state, sizeof state, "%s/shared-%d", folder, (int)getpid());
    CHECK(mkdir(state, 0700) == 0);
    one = make(config_in(state, "1.5s", UP));
    two = make(config_in(state, "1.5s", UP));
    CODE(FAILOVER_OK, failover_engine_start(one, &error));
    failover_error *error = NULL;
    CHECK(failover_engine_start(two, &error) == FAILOVER_STATE && failover_error_is_retriable(error));
    failover_error_free(error);
    stop_and_free(one);
    CODE(FAILOVER_OK, failover_engine_start(two, &error));
    stop_and_free(two);
}

static int count_in(const char *path)
{
    int count = 0;
    DIR *dir = opendir(path);
    CHECK(dir != NULL);
    while (readdir(dir) != NULL)
        count++;
    closedir(dir);
    return count;
}

static long resident_kb(void)
{
    long kb = 0;
    char line[256];
    FILE *file = fopen("/proc/self/status", "r");
    while (fgets(line, sizeof line, file) != NULL)
        if (sscanf(line, "VmRSS: %ld", &kb) == 1)
            break;
    fclose(file);
    return kb;
}

static void one_cycle(const char *text)
{
    failover_engine *engine = make(text);
    CODE(FAILOVER_OK, failover_engine_start(engine, &error));
    failover_event *event = NULL;
    CODE(FAILOVER_OK, failover_engine_next_event(engine, LONG, &event, &error));
    failover_event_free(event);
    stop_and_free(engine);
}

static void cycles(void)
{
    const char *wanted = getenv("CYCLES");
    int number = wanted ? atoi(wanted) : 50;
    char text[8192];
    snprintf(text, sizeof text, "%s", config(UP));
    for (int i = 0; i < 20; i++)
        one_cycle(text);
    int threads = count_in("/proc/self/task"), descriptors = count_in("/proc/self/fd");
    long before = resident_kb();
    for (int i = 0; i < number; i++)
        one_cycle(text);
    CHECK(count_in("/proc/self/task") == threads);
    CHECK(count_in("/proc/self/fd") == descriptors);
    // The allocator keeps what it likes; what grows by every cycle would be a hundred times as much.
    long grown = resident_kb() - before;
    printf("%d cycles, %ld KiB more\n", number, grown);
    CHECK(grown < 4096);
}

static void forked(void)
{
    failover_engine *engine = started(UP);
    failover_breaker *breaker = NULL;
    CODE(FAILOVER_OK, failover_breaker_new(5, 1000, 1, &breaker, &error));
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        failover_event *event = NULL;
        failover_status *status = NULL;
        uint64_t token;
        CODE(FAILOVER_FORKED, failover_engine_status(engine, &status, &error));
        CODE(FAILOVER_FORKED, failover_engine_next_event(engine, LONG, &event, &error));
        CODE(FAILOVER_FORKED, failover_engine_stop(engine, LONG, &error));
        CODE(FAILOVER_FORKED, failover_engine_wake(engine, &error));
        CODE(FAILOVER_FORKED, failover_breaker_permit(breaker, &token, &error));
        failover_engine_request_stop(engine);
        failover_engine_free(engine);
        failover_breaker_free(breaker);
        // One of its own works.
        failover_engine *own = started(UP);
        failover_event_free(wait_for(own, FAILOVER_EVENT_HEALTH_CHANGED));
        stop_and_free(own);
        _exit(0);
    }
    int how = 0;
    CHECK(waitpid(child, &how, 0) == child && WIFEXITED(how) && WEXITSTATUS(how) == 0);
    failover_event_free(wait_for(engine, FAILOVER_EVENT_OBSERVED));
    failover_breaker_free(breaker);
    stop_and_free(engine);
}

static failover_engine *to_stop;

static void on_signal(int signal)
{
    (void)signal;
    failover_engine_request_stop(to_stop);
}

static void signals(void)
{
    sigset_t before, after;
    memset(&before, 0, sizeof before);
    memset(&after, 0, sizeof after);
    struct sigaction action = {.sa_handler = on_signal}, seen;
    static void (*handlers[NSIG])(int);
    sigemptyset(&action.sa_mask);
    CHECK(sigaction(SIGUSR1, &action, NULL) == 0);
    CHECK(signal(SIGCHLD, SIG_IGN) != SIG_ERR);
    CHECK(pthread_sigmask(SIG_SETMASK, NULL, &before) == 0);
    for (int number = 1; number < NSIG; number++)
        handlers[number] = sigaction(number, NULL, &seen) == 0 ? seen.sa_handler : SIG_DFL;
    // With SIGCHLD ignored no exit code can be had: the check says so and is no success.
    failover_engine *engine = started("\"kind\":\"exec\",\"command\":[\"/bin/true\"]");
    to_stop = engine;
    CHECK(pthread_sigmask(SIG_SETMASK, NULL, &after) == 0 && memcmp(&before, &after, sizeof before) == 0);
    failover_event *event = wait_for(engine, FAILOVER_EVENT_OBSERVED);
    CHECK(strstr(failover_event_message(event), "unknown") && strstr(failover_event_json(event), "SIGCHLD"));
    failover_event_free(event);
    for (int number = 1; number < NSIG; number++)
        CHECK(sigaction(number, NULL, &seen) != 0 || seen.sa_handler == handlers[number]);
    // Every thread of the engine blocks it: the signal comes here, and asks for the stop.
    CHECK(kill(getpid(), SIGUSR1) == 0);
    failover_event_free(wait_for(engine, FAILOVER_EVENT_ENGINE_STOPPED));
    stop_and_free(engine);
    signal(SIGCHLD, SIG_DFL);
    signal(SIGUSR1, SIG_DFL);
}

static void breaker(void)
{
    failover_breaker *breaker = NULL;
    uint64_t token = 0;
    CODE(FAILOVER_INVALID_ARG, failover_breaker_new(0, 1, 1, &breaker, &error));
    CODE(FAILOVER_OK, failover_breaker_new(2, 3600000, 1, &breaker, &error));
    for (int i = 0; i < 2; i++) {
        CODE(FAILOVER_OK, failover_breaker_permit(breaker, &token, &error));
        CODE(FAILOVER_OK, failover_breaker_settle(breaker, token, FAILOVER_BREAKER_FAILURE, &error));
    }
    CHECK(failover_breaker_state(breaker) == FAILOVER_BREAKER_OPEN);
    failover_error *error = NULL;
    CHECK(failover_breaker_permit(breaker, &token, &error) == FAILOVER_REJECTED);
    CHECK(failover_error_is_retriable(error) && strstr(failover_error_json(error), "retry_after_ms"));
    failover_error_free(error);
    CODE(FAILOVER_INVALID_ARG, failover_breaker_settle(breaker, token, 9, &error));
    failover_breaker_reset(breaker);
    CHECK(failover_breaker_state(breaker) == FAILOVER_BREAKER_CLOSED);
    failover_breaker_free(breaker);
}

// NULL, no UTF-8, and far too much, to everything.
static void arguments(void)
{
    failover_engine *engine = started(UP), *none = NULL;
    failover_event *event = NULL;
    failover_status *status = NULL;
    failover_breaker *breaker = NULL;
    int fd;
    uint64_t token, generation = 4711;
    char bad[] = {'\xff', '\xfe', 0};
    char *huge = malloc(1 << 20);
    memset(huge, 'x', (1 << 20) - 1);
    huge[(1 << 20) - 1] = 0;

    CODE(FAILOVER_NULL_ARG, failover_engine_new(NULL, 5, &none, &error));
    CODE(FAILOVER_NULL_ARG, failover_engine_new("{}", 2, NULL, &error));
    CODE(FAILOVER_INVALID_ARG, failover_engine_new(bad, 2, &none, &error));
    CODE(FAILOVER_INVALID_ARG, failover_engine_new("{}", SIZE_MAX, &none, &error));
    CODE(FAILOVER_CONFIG, failover_engine_new("", 0, &none, &error));
    CODE(FAILOVER_CONFIG, failover_engine_new(huge, (1 << 20) - 1, &none, &error));
    const char *whole = config(UP);
    for (size_t len = 0; len < strlen(whole); len += 7)
        CODE(FAILOVER_CONFIG, failover_engine_new(whole, len, &none, &error));
    CODE(FAILOVER_NULL_ARG, failover_engine_new_from_file(NULL, &none, &error));
    CODE(FAILOVER_INVALID_ARG, failover_engine_new_from_file(bad, &none, &error));
    CODE(FAILOVER_CONFIG, failover_engine_new_from_file(huge, &none, &error));
    CODE(FAILOVER_CONFIG, failover_engine_new_from_file("/", &none, &error));
    CHECK(none == NULL);

    CODE(FAILOVER_NULL_ARG, failover_engine_start(NULL, &error));
    CODE(FAILOVER_NULL_ARG, failover_engine_stop(NULL, 0, &error));
    CODE(FAILOVER_NULL_ARG, failover_engine_status(NULL, &status, &error));
    CODE(FAILOVER_NULL_ARG, failover_engine_status(engine, NULL, &error));
    CODE(FAILOVER_NULL_ARG, failover_engine_status_of(engine, NULL, &status, &error));
    CODE(FAILOVER_NULL_ARG, failover_engine_status_of(engine, "x", NULL, &error));
    CODE(FAILOVER_NULL_ARG, failover_engine_next_event(NULL, 0, &event, &error));
    CODE(FAILOVER_NULL_ARG, failover_engine_next_event(engine, 0, NULL, &error));
    CODE(FAILOVER_NULL_ARG, failover_engine_event_fd(NULL, &fd, &error));
    CODE(FAILOVER_NULL_ARG, failover_engine_event_fd(engine, NULL, &error));
    CODE(FAILOVER_NULL_ARG, failover_engine_wake(NULL, &error));
    CODE(FAILOVER_NULL_ARG, failover_engine_on_event(NULL, hear, NULL, NULL, &error));
    CODE(FAILOVER_NULL_ARG, failover_engine_confirm(NULL, "site", &error));
    CODE(FAILOVER_NULL_ARG, failover_engine_confirm(engine, NULL, &error));
    CODE(FAILOVER_NULL_ARG, failover_engine_confirm_all(NULL, &error));
    CODE(FAILOVER_INVALID_ARG, failover_engine_confirm(engine, bad, &error));
    CODE(FAILOVER_INVALID_ARG, failover_engine_confirm(engine, huge, &error));
    CODE(FAILOVER_INVALID_ARG, failover_engine_pause(engine, bad, &error));
    CODE(FAILOVER_INVALID_ARG, failover_engine_pause_with(engine, NULL, bad, FAILOVER_FOREVER, &error));
    CODE(FAILOVER_NULL_ARG, failover_engine_pause_with(NULL, NULL, NULL, FAILOVER_FOREVER, &error));
    CODE(FAILOVER_INVALID_ARG, failover_engine_resume(engine, huge, &error));
    CODE(FAILOVER_NULL_ARG, failover_engine_reset(engine, NULL, &error));
    CODE(FAILOVER_NULL_ARG, failover_engine_rejoin(engine, NULL, "web1", 0, &error));
    CODE(FAILOVER_INVALID_ARG, failover_engine_rejoin(engine, "site", bad, 0, &error));
    failover_report *preflight = NULL;
    CODE(FAILOVER_NULL_ARG, failover_engine_switchover(engine, NULL, NULL, 0, NULL, &error));
    CODE(FAILOVER_INVALID_ARG, failover_engine_switchover(engine, "site", bad, 0, NULL, &error));
    CODE(FAILOVER_NULL_ARG, failover_engine_switchover_cancel(engine, NULL, &error));
    CODE(FAILOVER_NULL_ARG, failover_engine_switchover_preflight(engine, NULL, NULL, &preflight, &error));
    CODE(FAILOVER_NULL_ARG, failover_engine_switchover_preflight(engine, "site", NULL, NULL, &error));
    CODE(FAILOVER_INVALID_ARG, failover_engine_switchover_preflight(engine, "site", bad, &preflight, &error));
    CODE(FAILOVER_NULL_ARG, failover_engine_survived_xid(engine, NULL, 742, 1, &preflight, &error));
    CODE(FAILOVER_NULL_ARG, failover_engine_survived_xid(engine, "site", 742, 1, NULL, &error));
    CODE(FAILOVER_INVALID_ARG, failover_engine_survived_xid(engine, "site", 2, 1, &preflight, &error));
    CODE(FAILOVER_INVALID_ARG, failover_engine_survived_xid(engine, "site", 742, 1, &preflight, &error));
    CODE(FAILOVER_NULL_ARG, failover_engine_survived_lsn(engine, "site", NULL, 1, &preflight, &error));
    CODE(FAILOVER_INVALID_ARG, failover_engine_survived_lsn(engine, "site", bad, 1, &preflight, &error));
    CODE(FAILOVER_NULL_ARG, failover_engine_force(engine, NULL, NULL, 0, &error));
    CODE(FAILOVER_INVALID_ARG, failover_engine_force(engine, "site", bad, 0, &error));
    CODE(FAILOVER_NULL_ARG, failover_engine_force_with(engine, NULL, NULL, 0, &generation, &error));
    CODE(FAILOVER_NULL_ARG, failover_engine_force_with(engine, "site", NULL, 0, NULL, &error));
    CODE(FAILOVER_INVALID_ARG, failover_engine_force_with(engine, "site", bad, 0, &generation, &error));
    CHECK(generation == 4711);
    CODE(FAILOVER_NULL_ARG, failover_engine_cordon(NULL, "site", "web1", &error));
    CODE(FAILOVER_NULL_ARG, failover_engine_cordon(engine, "site", NULL, &error));
    CODE(FAILOVER_INVALID_ARG, failover_engine_cordon(engine, "site", bad, &error));
    CODE(FAILOVER_NULL_ARG, failover_engine_uncordon(engine, NULL, "web1", &error));
    CODE(FAILOVER_INVALID_ARG, failover_engine_uncordon(engine, "site", "nobody", &error));
    CODE(FAILOVER_NULL_ARG, failover_engine_adopt(NULL, "site", "web1", &error));
    CODE(FAILOVER_NULL_ARG, failover_engine_adopt(engine, NULL, "web1", &error));
    CODE(FAILOVER_NULL_ARG, failover_engine_adopt(engine, "site", NULL, &error));
    CODE(FAILOVER_INVALID_ARG, failover_engine_adopt(engine, "site", bad, &error));
    CODE(FAILOVER_NULL_ARG, failover_engine_reload(engine, NULL, 0, &error));
    CODE(FAILOVER_INVALID_ARG, failover_engine_reload(engine, bad, 2, &error));
    CODE(FAILOVER_NULL_ARG, failover_engine_reload_from_file(engine, NULL, &error));
    CODE(FAILOVER_INVALID_ARG, failover_engine_reload_from_file(engine, bad, &error));
    CODE(FAILOVER_CONFIG, failover_engine_reload_from_file(engine, huge, &error));
    CODE(FAILOVER_NULL_ARG, failover_engine_report_outcome(engine, NULL, NULL, 1, &error));
    CODE(FAILOVER_INVALID_ARG, failover_engine_report_outcome(engine, "site", bad, 1, &error));
    CODE(FAILOVER_NULL_ARG, failover_engine_register_check(NULL, "page", answer_down, NULL, NULL, &error));
    CODE(FAILOVER_NULL_ARG, failover_engine_offer_check(NULL, "page", &error));
    CODE(FAILOVER_NULL_ARG, failover_engine_offer_check(engine, NULL, &error));
    CODE(FAILOVER_INVALID_ARG, failover_engine_offer_check(engine, bad, &error));
    CODE(FAILOVER_NULL_ARG, failover_engine_register_action(engine, "fence", NULL, NULL, NULL, &error));
    CODE(FAILOVER_NULL_ARG, failover_engine_offer_action(NULL, "fence", &error));
    CODE(FAILOVER_NULL_ARG, failover_task_complete(NULL, 1, 1, NULL, 0, &error));
    CODE(FAILOVER_NULL_ARG, failover_task_complete(engine, 1, 1, NULL, 5, &error));
    CODE(FAILOVER_INVALID_ARG, failover_task_complete(engine, 1, 1, bad, 2, &error));
    failover_report *report = NULL;
    CODE(FAILOVER_NULL_ARG, failover_engine_check_all(NULL, 0, &report, &error));
    CODE(FAILOVER_NULL_ARG, failover_engine_check_all(engine, LONG, NULL, &error));
    CODE(FAILOVER_NULL_ARG, failover_engine_doctor(NULL, NULL, 0, &report, &error));
    CODE(FAILOVER_NULL_ARG, failover_engine_doctor(engine, NULL, LONG, NULL, &error));
    CODE(FAILOVER_INVALID_ARG, failover_engine_doctor(engine, bad, LONG, &report, &error));
    CODE(FAILOVER_NULL_ARG, failover_engine_config(NULL, &report, &error));
    CODE(FAILOVER_NULL_ARG, failover_engine_config(engine, NULL, &error));
    CODE(FAILOVER_NULL_ARG, failover_config_validate(NULL, 0, &report, &error));
    CODE(FAILOVER_NULL_ARG, failover_config_validate("{}", 2, NULL, &error));
    CODE(FAILOVER_INVALID_ARG, failover_config_validate(bad, 2, &report, &error));
    CODE(FAILOVER_NULL_ARG, failover_config_validate_from_file(NULL, &report, &error));
    CODE(FAILOVER_NULL_ARG, failover_config_effective(NULL, 0, &report, &error));
    CODE(FAILOVER_NULL_ARG, failover_config_effective_from_file(NULL, &report, &error));
    CODE(FAILOVER_NULL_ARG, failover_replay(NULL, &report, &error));
    CODE(FAILOVER_INVALID_ARG, failover_replay(huge, &report, &error));
    CHECK(report == NULL);
    // A place for the answer that is missing comes first, whatever else is wrong.
    for (int i = 0; i < 3; i++) {
        const char *config = (const char *[]){"{", "{}", bad}[i];
        size_t length = i == 2 ? 2 : strlen(config);
        CODE(FAILOVER_NULL_ARG, failover_engine_new(config, length, NULL, &error));
        CODE(FAILOVER_NULL_ARG, failover_config_validate(config, length, NULL, &error));
        CODE(FAILOVER_NULL_ARG, failover_config_effective(config, length, NULL, &error));
        const char *path = (const char *[]){"/nowhere/failover.toml", huge, bad}[i];
        CODE(FAILOVER_NULL_ARG, failover_engine_new_from_file(path, NULL, &error));
        CODE(FAILOVER_NULL_ARG, failover_config_validate_from_file(path, NULL, &error));
        CODE(FAILOVER_NULL_ARG, failover_config_effective_from_file(path, NULL, &error));
        CODE(FAILOVER_NULL_ARG, failover_replay(path, NULL, &error));
    }
    CODE(FAILOVER_NULL_ARG, failover_engine_doctor(engine, bad, LONG, NULL, &error));
    CODE(FAILOVER_NULL_ARG, failover_engine_status_of(engine, bad, NULL, &error));
    CODE(FAILOVER_NULL_ARG, failover_engine_force_with(engine, bad, NULL, 0, NULL, &error));
    CODE(FAILOVER_NULL_ARG, failover_breaker_new(0, 0, 0, NULL, &error));
    CODE(FAILOVER_NULL_ARG, failover_breaker_new(1, 1, 1, NULL, &error));
    CODE(FAILOVER_NULL_ARG, failover_breaker_permit(NULL, &token, &error));
    CODE(FAILOVER_NULL_ARG, failover_breaker_settle(NULL, 1, 1, &error));
    // Without a place for the error as well.
    CHECK(failover_engine_start(NULL, NULL) == FAILOVER_NULL_ARG);

    failover_engine_request_stop(NULL);
    failover_engine_free(NULL);
    failover_event_free(NULL);
    failover_status_free(NULL);
    failover_report_free(NULL);
    CHECK(failover_report_json(NULL) == NULL && !failover_report_passed(NULL));
    CHECK(failover_event_host(NULL) == NULL && failover_event_port(NULL) == 0);
    CHECK(failover_status_primary_host(NULL, NULL) == NULL && failover_status_primary_port(NULL, NULL) == 0);
    failover_error_free(NULL);
    failover_breaker_free(NULL);
    failover_breaker_reset(NULL);
    CHECK(failover_breaker_state(NULL) == 0 && breaker == NULL);
    CHECK(failover_error_code(NULL) == FAILOVER_NULL_ARG && failover_error_message(NULL) == NULL);
    CHECK(failover_error_path(NULL) == NULL && failover_error_json(NULL) == NULL && !failover_error_is_retriable(NULL));
    CHECK(failover_event_kind(NULL) == 0 && failover_event_seq(NULL) == 0 && failover_event_time_ns(NULL) == 0);
    CHECK(failover_event_mono_ns(NULL) == 0 && failover_event_generation(NULL) == 0 && failover_event_severity(NULL) == 0);
    CHECK(failover_event_service(NULL) == NULL && failover_event_server(NULL) == NULL && failover_event_message(NULL) == NULL);
    CHECK(failover_event_json(NULL) == NULL && failover_event_task_id(NULL) == 0 && failover_event_deadline_ms(NULL) == 0);
    CHECK(failover_event_ref(NULL) == NULL);
    CHECK(failover_status_service_count(NULL) == 0 && failover_status_service(NULL, 0) == NULL);
    CHECK(!failover_status_would_fail_over(NULL, NULL));
    CHECK(failover_status_json(NULL) == NULL && failover_status_metrics(NULL, true) == NULL);
    CHECK(failover_status_state(NULL, NULL) == NULL);
    free(huge);
    stop_and_free(engine);
}

// Events are kept behind the callback that gave them.
static failover_event *kept;

static void keep_one(void *userdata, const failover_event *event)
{
    struct heard *heard = userdata;
    pthread_mutex_lock(&heard->lock);
    if (kept == NULL)
        kept = failover_event_ref(event);
    heard->events++;
    pthread_cond_broadcast(&heard->news);
    pthread_mutex_unlock(&heard->lock);
}

static void kept_events(void)
{
    struct heard heard = {.lock = PTHREAD_MUTEX_INITIALIZER, .news = PTHREAD_COND_INITIALIZER};
    failover_engine *engine = make(config(UP));
    CODE(FAILOVER_OK, failover_engine_on_event(engine, keep_one, &heard, NULL, &error));
    CODE(FAILOVER_OK, failover_engine_start(engine, &error));
    pthread_mutex_lock(&heard.lock);
    while (heard.events < 3)
        pthread_cond_wait(&heard.news, &heard.lock);
    pthread_mutex_unlock(&heard.lock);
    stop_and_free(engine);
    CHECK(failover_event_kind(kept) == FAILOVER_EVENT_ENGINE_STARTED && strlen(failover_event_json(kept)) > 10);
    failover_event_free(kept);
    kept = NULL;
}

static const struct {
    const char *name;
    void (*run)(void);
} TESTS[] = {
    {"lifecycle", lifecycle},
    {"commands", commands},
    {"an_order", an_order},
    {"configurations", configurations},
    {"reports", reports},
    {"errors_tell_everything", errors_tell_everything},
    {"arguments", arguments},
    {"checks_of_the_host", checks_of_the_host},
    {"checks_that_nobody_answers", checks_that_nobody_answers},
    {"tasks", tasks},
    {"callbacks", callbacks},
    {"freed_in_a_callback", freed_in_a_callback},
    {"kept_events", kept_events},
    {"event_loop", event_loop},
    {"woken", woken},
    {"two_engines", two_engines},
    {"breaker", breaker},
    {"signals", signals},
    {"forked", forked},
    {"cycles", cycles},
};

int main(int argc, char **argv)
{
    if (argc < 2) {
        fprintf(stderr, "usage: suite FOLDER [TEST...]\n");
        return 2;
    }
    folder = argv[1];
    setvbuf(stdout, NULL, _IONBF, 0);
    int ran = 0;
    for (size_t at = 0; at < sizeof TESTS / sizeof *TESTS; at++) {
        int wanted = argc == 2 && (getenv("SKIP") == NULL || strcmp(getenv("SKIP"), TESTS[at].name) != 0);
        for (int i = 2; i < argc; i++)
            wanted |= strcmp(argv[i], TESTS[at].name) == 0;
        if (!wanted)
            continue;
        TESTS[at].run();
        printf("c suite: %s ... ok\n", TESTS[at].name);
        ran++;
    }
    CHECK(ran > 0);
    return 0;
}
