// What `failover validate`, `check` and `doctor` say, inside a program: before it starts its engine, in a health page, in a deployment.
// Prints the reports as JSON (docs/STATUS.md) and ends with 0 when a failover would go through, else with 1.
//
//     cc -o preflight preflight.c $(pkg-config --cflags --libs failover)
//     ./preflight failover.toml [SERVICE]
#include <failover.h>
#include <stdio.h>

// Every question to a server or a host has its own time limit; this one is over all of them.
#define PATIENCE_MS 60000

static int failed(const char *what, failover_error *error)
{
    fprintf(stderr, "preflight: %s: %s\n", what, failover_error_message(error));
    failover_error_free(error);
    return 1;
}

// Prints a report and frees it; tells whether all is well.
static bool shown(failover_report *report)
{
    bool passed = failover_report_passed(report);
    puts(failover_report_json(report));
    failover_report_free(report);
    return passed;
}

int main(int argc, char **argv)
{
    if (argc < 2 || argc > 3) {
        fprintf(stderr, "usage: preflight CONFIG [SERVICE]\n");
        return 2;
    }
    failover_report *report = NULL;
    failover_error *error = NULL;
    // Every mistake and every warning at once.
    if (failover_config_validate_from_file(argv[1], &report, &error) != FAILOVER_OK)
        return failed("the configuration", error);
    if (!shown(report))
        return 1;
    // An engine that is not started asks as one does that runs.
    failover_engine *engine = NULL;
    if (failover_engine_new_from_file(argv[1], &engine, &error) != FAILOVER_OK)
        return failed("the configuration", error);
    int code = 1;
    const char *service = argc > 2 ? argv[2] : NULL;
    if (service == NULL && failover_engine_check_all(engine, PATIENCE_MS, &report, &error) != FAILOVER_OK)
        code = failed("the check", error);
    else if (service != NULL && failover_engine_doctor(engine, service, PATIENCE_MS, &report, &error) != FAILOVER_OK)
        code = failed("the doctor", error);
    else
        code = shown(report) ? 0 : 1;
    failover_engine_free(engine);
    return code;
}
