// The scenario that every binding plays: prints `kind service server message` for each event of the kinds it is given, and stops
// after so many.   scenario CONFIG-FILE COUNT KIND…
#include <failover.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *word(const char *text)
{
    return text ? text : "-";
}

int main(int argc, char **argv)
{
    failover_engine *engine = NULL;
    failover_error *error = NULL;
    failover_event *event = NULL;
    int left = argc > 2 ? atoi(argv[2]) : 0;
    if (argc < 4 || failover_engine_new_from_file(argv[1], &engine, &error) != FAILOVER_OK ||
        failover_engine_start(engine, &error) != FAILOVER_OK) {
        fprintf(stderr, "%s\n", error ? failover_error_message(error) : "usage: scenario CONFIG-FILE COUNT KIND...");
        return 2;
    }
    while (failover_engine_next_event(engine, FAILOVER_FOREVER, &event, &error) == FAILOVER_OK) {
        const char *kind = failover_event_kind_name(failover_event_kind(event));
        for (int i = 3; i < argc; i++) {
            if (strcmp(argv[i], kind) == 0) {
                printf("%s %s %s %s\n", kind, word(failover_event_service(event)), word(failover_event_server(event)),
                       failover_event_message(event));
                if (--left == 0)
                    failover_engine_request_stop(engine);
            }
        }
        failover_event_free(event);
    }
    // What ended the loop is the end of the events, and that is an error like any other.
    int over = failover_error_code(error) == FAILOVER_STATE;
    failover_error_free(error);
    failover_engine_free(engine);
    return over ? 0 : 1;
}
