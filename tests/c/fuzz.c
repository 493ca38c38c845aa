// Rubbish over the boundary: every function with arguments chosen by a seed, in any order, on engines in any state, from one thread
// and, in the second half, from four at once. Nothing may crash, hang, or answer with something that is no code.
//   fuzz FOLDER CALLS [SEED]
#include <failover.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const char *folder;
static failover_engine *engines[3];
static failover_breaker *breaker;
static char huge[70000];
static char good[3][4096];

struct dice {
    uint64_t state;
};

static uint64_t roll(struct dice *dice)
{
    // xorshift64* (Vigna 2016).
    dice->state ^= dice->state >> 12;
    dice->state ^= dice->state << 25;
    dice->state ^= dice->state >> 27;
    return dice->state * 2685821657736338717u;
}

static uint64_t below(struct dice *dice, uint64_t limit)
{
    return roll(dice) % limit;
}

static const char *text(struct dice *dice)
{
    static const char *const TEXTS[] = {NULL, "", "site", "web1", "page", "fence", "pre_checks", "\xff\xfe", "a\nb", "\xf0\x9f\x90\x98",
                                        "%s%n", "../../etc/passwd", "site\x01", "{", "null"};
    uint64_t at = below(dice, sizeof TEXTS / sizeof *TEXTS + 1);
    return at < sizeof TEXTS / sizeof *TEXTS ? TEXTS[at] : huge;
}

// A configuration: right, cut off, or with some bytes changed.
static size_t config(struct dice *dice, char *to)
{
    size_t len = strlen(good[0]);
    memcpy(to, good[below(dice, 3)], len + 1);
    switch (below(dice, 3)) {
    case 0:
        return below(dice, len + 1);
    case 1:
        for (uint64_t i = below(dice, 4); i < 4; i++)
            to[below(dice, len)] = (char)roll(dice);
        return len;
    default:
        return len;
    }
}

static void on_event(void *userdata, const failover_event *event)
{
    (void)userdata;
    (void)failover_event_json(event);
}

static int32_t on_task(void *userdata, const failover_event *task, char *detail)
{
    (void)userdata;
    memset(detail, 'x', failover_event_seq(task) % 2 ? 5 : FAILOVER_DETAIL_SIZE);
    return (int32_t)(failover_event_mono_ns(task) % 9);
}

static void look_at(const failover_event *event)
{
    (void)failover_event_kind_name(failover_event_kind(event));
    (void)failover_event_severity(event);
    (void)failover_event_message(event);
    (void)failover_event_service(event);
    (void)failover_event_server(event);
    (void)failover_event_host(event);
    (void)failover_event_port(event);
    (void)failover_event_time_ns(event);
    failover_event_free(failover_event_ref(event));
}

static void one_call(struct dice *dice)
{
    static const uint32_t WAITS[] = {0, 1, 2};
    char buffer[4096];
    failover_engine *engine = below(dice, 20) == 0 ? NULL : engines[below(dice, 3)];
    failover_error *error = NULL, **err = below(dice, 5) == 0 ? NULL : &error;
    failover_event *event = NULL;
    failover_status *status = NULL;
    failover_report *report = NULL;
    failover_engine *made = NULL;
    uint64_t token = roll(dice);
    int fd;
    int32_t code = 0;
    switch (below(dice, 26)) {
    case 0: {
        size_t len = config(dice, buffer);
        code = failover_engine_new(buffer, len, &made, err);
        failover_engine_free(made);
        break;
    }
    case 1: code = failover_engine_new_from_file(text(dice), &made, err); failover_engine_free(made); break;
    case 2: code = failover_engine_start(engine, err); break;
    case 3: code = below(dice, 2) == 0 ? failover_engine_status(engine, &status, err) : failover_engine_status_of(engine, text(dice), &status, err);
        (void)failover_status_json(status);
        (void)failover_status_metrics(status, below(dice, 2) == 0);
        (void)failover_status_state(status, text(dice));
        (void)failover_status_primary(status, text(dice));
        (void)failover_status_health(status, text(dice));
        (void)failover_status_would_fail_over(status, text(dice));
        (void)failover_status_generation(status, text(dice));
        (void)failover_status_service(status, below(dice, 3));
        failover_status_free(status);
        break;
    case 4: case 5: case 6:
        code = failover_engine_next_event(engine, WAITS[below(dice, 3)], &event, err);
        if (event != NULL) {
            look_at(event);
            if (failover_event_task_id(event) != 0)
                (void)failover_task_complete(engine, failover_event_task_id(event), (int32_t)below(dice, 9) - 1, "x", 1, NULL);
            failover_event_free(event);
        }
        break;
    case 7: code = failover_engine_event_fd(engine, &fd, err); break;
    case 8: code = failover_engine_wake(engine, err); break;
    case 9: code = below(dice, 50) ? 0 : failover_engine_on_event(engine, below(dice, 4) ? on_event : NULL, NULL, NULL, err); break;
    case 10:
        code = below(dice, 4) ? failover_engine_confirm(engine, text(dice), err) : failover_engine_confirm_all(engine, err);
        break;
    case 11:
        code = below(dice, 2) ? failover_engine_pause(engine, text(dice), err)
                              : failover_engine_pause_with(engine, text(dice), text(dice), (uint32_t)roll(dice), err);
        break;
    case 12: code = failover_engine_resume(engine, text(dice), err); break;
    case 13: code = failover_engine_reset(engine, text(dice), err); break;
    case 14:
        switch (below(dice, 9)) {
        case 7: code = failover_engine_rebuild(engine, text(dice), text(dice), (int32_t)below(dice, 2), err); break;
        case 8: code = failover_engine_clone(engine, text(dice), text(dice), (int32_t)below(dice, 2), err); break;
        case 3: code = failover_engine_rejoin(engine, text(dice), text(dice), (int32_t)below(dice, 2), err); break;
        case 4: code = failover_engine_switchover(engine, text(dice), text(dice), roll(dice), NULL, err); break;
        case 5: code = failover_engine_switchover_cancel(engine, text(dice), err); break;
        case 0: code = failover_engine_adopt(engine, text(dice), text(dice), err); break;
        case 1: code = failover_engine_cordon(engine, text(dice), text(dice), err); break;
        case 2: code = failover_engine_uncordon(engine, text(dice), text(dice), err); break;
        default: {
            uint64_t generation;
            code = below(dice, 2) ? failover_engine_force(engine, text(dice), text(dice), roll(dice), err)
                                  : failover_engine_force_with(engine, text(dice), text(dice), roll(dice),
                                                               below(dice, 4) ? &generation : NULL, err);
        } break;
        }
        break;
    case 15: {
        size_t len = config(dice, buffer);
        code = failover_engine_reload(engine, buffer, len, err);
        break;
    }
    case 16: code = failover_engine_register_check(engine, text(dice), below(dice, 4) ? on_task : NULL, NULL, NULL, err); break;
    case 17: code = failover_engine_register_action(engine, text(dice), below(dice, 4) ? on_task : NULL, NULL, NULL, err); break;
    case 18:
        code = below(dice, 2) ? failover_engine_offer_action(engine, text(dice), err) : failover_engine_offer_check(engine, text(dice), err);
        break;
    case 19: code = failover_task_complete(engine, token % 64, (int32_t)roll(dice), text(dice), below(dice, 2), err); break;
    case 20: case 21: code = failover_engine_report_outcome(engine, text(dice), text(dice), (int32_t)below(dice, 9) - 1, err); break;
    case 22: code = failover_breaker_permit(breaker, &token, err); break;
    case 23: code = failover_breaker_settle(breaker, token, (int32_t)below(dice, 5), err);
        (void)failover_breaker_state(breaker);
        if (below(dice, 100) == 0)
            failover_breaker_reset(breaker);
        break;
    case 24: {
        size_t len = config(dice, buffer);
        code = below(dice, 2) ? failover_config_validate(buffer, len, &report, err) : failover_config_effective(buffer, len, &report, err);
        break;
    }
    case 25:
        switch (below(dice, 6)) {
        case 0: code = failover_engine_config(engine, &report, err); break;
        case 1: code = failover_config_validate_from_file(text(dice), &report, err); break;
        case 2: code = failover_config_effective_from_file(text(dice), &report, err); break;
        case 3: code = failover_replay(text(dice), &report, err); break;
        case 4: code = below(dice, 20) ? 0 : failover_engine_check_all(engine, (uint32_t)below(dice, 200), &report, err); break;
        default: code = failover_engine_doctor(engine, text(dice), (uint32_t)below(dice, 50), &report, err);
        }
        break;
    }
    if (report != NULL && (failover_report_json(report) == NULL || failover_report_json(report)[0] != '{'))
        exit(1);
    failover_report_free(report);
    if (code > 0 || strcmp(failover_code_name(code), "unknown") == 0 || code == FAILOVER_PANIC) {
        fprintf(stderr, "fuzz: code %d: %s\n", (int)code, error ? failover_error_message(error) : "");
        exit(1);
    }
    if (error != NULL) {
        if (failover_error_code(error) != code || failover_error_json(error) == NULL)
            exit(1);
        (void)failover_error_path(error);
        failover_error_free(error);
    }
}

struct work {
    struct dice dice;
    long calls;
};

static void *many_calls(void *argument)
{
    struct work *work = argument;
    for (long i = 0; i < work->calls; i++)
        one_call(&work->dice);
    return NULL;
}

int main(int argc, char **argv)
{
    if (argc < 3) {
        fprintf(stderr, "usage: fuzz FOLDER CALLS [SEED]\n");
        return 2;
    }
    folder = argv[1];
    long calls = atol(argv[2]);
    uint64_t seed = argc > 3 ? strtoull(argv[3], NULL, 10) : 20;
    memset(huge, 'x', sizeof huge - 1);
    for (int round = 0; round < 4; round++) {
        for (int i = 0; i < 3; i++) {
            failover_error *error = NULL;
            char state[1024];
            snprintf(state, sizeof state, "%s/fuzz-%d-%d-%d", folder, (int)getpid(), round, i);
            if (mkdir(state, 0700) != 0)
                return 1;
            snprintf(good[i], sizeof good[i],
                     "{\"version\":1,\"state_dir\":\"%s\",\"services\":[{\"name\":\"site\",\"kind\":\"application\",\"servers\":["
                     "{\"name\":\"web1\",\"role\":\"primary\",\"host\":\"127.0.0.1\"}],\"checks\":[{\"name\":\"page\",\"server\":\"web1\","
                     "\"interval\":\"50ms\",\"timeout\":\"100ms\",\"kind\":\"%s\"}]}]}",
                     state, "host");
            if (failover_engine_new(good[i], strlen(good[i]), &engines[i], &error) != FAILOVER_OK) {
                fprintf(stderr, "fuzz: %s\n", failover_error_message(error));
                return 1;
            }
            // The first one does not start unless the dice say so.
            if (i > 0 && failover_engine_offer_check(engines[i], "page", NULL) != FAILOVER_OK)
                return 1;
        }
        if (failover_breaker_new(3, 5, 2, &breaker, NULL) != FAILOVER_OK)
            return 1;
        int threads = round < 2 ? 1 : 4;
        pthread_t running[4];
        struct work work[4];
        for (int i = 0; i < threads; i++) {
            work[i] = (struct work){{(seed * 16 + (uint64_t)round * 4 + (uint64_t)i) * 2 + 1}, calls / 4 / threads};
            if (pthread_create(&running[i], NULL, many_calls, &work[i]) != 0)
                return 1;
        }
        for (int i = 0; i < threads; i++)
            pthread_join(running[i], NULL);
        for (int i = 0; i < 3; i++)
            failover_engine_free(engines[i]);
        failover_breaker_free(breaker);
    }
    printf("c fuzz: %ld calls, seed %llu ... ok\n", calls, (unsigned long long)seed);
    return 0;
}
