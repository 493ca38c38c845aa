// Every function with its type, every constant with its value: a change of either does not compile. What was released is never
// changed here, only added to.
#include <failover.h>

// C99 has no static assertion.
#define PIN(name, value) typedef char pin_##name[(name) == (value) ? 1 : -1]

PIN(FAILOVER_OK, 0);
PIN(FAILOVER_EMPTY, -1);
PIN(FAILOVER_TIMEOUT, -2);
PIN(FAILOVER_NULL_ARG, -3);
PIN(FAILOVER_INVALID_ARG, -4);
PIN(FAILOVER_CONFIG, -5);
PIN(FAILOVER_STATE, -6);
PIN(FAILOVER_REENTRANT, -7);
PIN(FAILOVER_FORKED, -8);
PIN(FAILOVER_SYSTEM, -9);
PIN(FAILOVER_UNKNOWN_TASK, -10);
PIN(FAILOVER_FAULTED, -11);
PIN(FAILOVER_PANIC, -12);
PIN(FAILOVER_UNSUPPORTED, -13);
PIN(FAILOVER_REJECTED, -14);
PIN(FAILOVER_ABI_VERSION, 2);
PIN(FAILOVER_FOREVER, UINT32_MAX);
PIN(FAILOVER_LOSS_CONFIGURED, UINT64_MAX);
PIN(FAILOVER_EVENT_ENGINE_STARTED, 1);
PIN(FAILOVER_EVENT_ENGINE_STOPPED, 2);
PIN(FAILOVER_EVENT_CONFIG_RELOADED, 3);
PIN(FAILOVER_EVENT_OBSERVED, 4);
PIN(FAILOVER_EVENT_HEALTH_CHANGED, 5);
PIN(FAILOVER_EVENT_STATE_CHANGED, 6);
PIN(FAILOVER_EVENT_SESSION_CLOSED, 7);
PIN(FAILOVER_EVENT_CONFIRMATION_STARTED, 8);
PIN(FAILOVER_EVENT_EVIDENCE_GATHERED, 9);
PIN(FAILOVER_EVENT_FAILURE_CONFIRMED, 10);
PIN(FAILOVER_EVENT_FAILOVER_SUPPRESSED, 11);
PIN(FAILOVER_EVENT_FAILOVER_REFUSED, 12);
PIN(FAILOVER_EVENT_AWAITING_CONFIRMATION, 13);
PIN(FAILOVER_EVENT_FAILOVER_STARTED, 14);
PIN(FAILOVER_EVENT_FAILOVER_RESUMED, 15);
PIN(FAILOVER_EVENT_STEP_STARTED, 16);
PIN(FAILOVER_EVENT_STEP_FINISHED, 17);
PIN(FAILOVER_EVENT_POINT_OF_NO_RETURN, 18);
PIN(FAILOVER_EVENT_FAILOVER_COMPLETED, 19);
PIN(FAILOVER_EVENT_FAILOVER_FAILED, 20);
PIN(FAILOVER_EVENT_ROLLED_BACK, 21);
PIN(FAILOVER_EVENT_MANUAL_INTERVENTION, 22);
PIN(FAILOVER_EVENT_PRIMARY_KNOWN, 23);
PIN(FAILOVER_EVENT_STANDBY_NOT_READY, 24);
PIN(FAILOVER_EVENT_STANDBY_READY, 25);
PIN(FAILOVER_EVENT_TWO_PRIMARIES, 26);
PIN(FAILOVER_EVENT_WRONG_CLUSTER, 27);
PIN(FAILOVER_EVENT_ROUTE_ASSERTED, 28);
PIN(FAILOVER_EVENT_OLD_PRIMARY_RETURNED, 29);
PIN(FAILOVER_EVENT_DOUBT_RAISED, 30);
PIN(FAILOVER_EVENT_DOUBT_CLEARED, 31);
PIN(FAILOVER_EVENT_READINESS_CHANGED, 32);
PIN(FAILOVER_EVENT_OPERATOR_COMMAND, 33);
PIN(FAILOVER_EVENT_JOURNAL_STATE, 34);
PIN(FAILOVER_EVENT_TASK_CHECK, 35);
PIN(FAILOVER_EVENT_TASK_ACTION, 36);
PIN(FAILOVER_EVENT_OVERFLOW, 37);
PIN(FAILOVER_EVENT_FAULTED, 38);
PIN(FAILOVER_EVENT_LOG, 39);
PIN(FAILOVER_EVENT_FALSE_POSITIVE, 40);
PIN(FAILOVER_EVENT_BREAKER_CHANGED, 41);
PIN(FAILOVER_EVENT_OTHER_BRANCH, 42);
PIN(FAILOVER_EVENT_STANDBY_REPOINTED, 43);
PIN(FAILOVER_EVENT_STANDBY_NOT_REPOINTED, 44);
PIN(FAILOVER_EVENT_SYNC_NAMES_RESTORED, 45);
PIN(FAILOVER_EVENT_REJOIN_STARTED, 46);
PIN(FAILOVER_EVENT_REJOIN_STEP, 47);
PIN(FAILOVER_EVENT_LOST_TRANSACTIONS, 48);
PIN(FAILOVER_EVENT_REJOIN_ENDED, 49);
PIN(FAILOVER_EVENT_NOTIFY_STATE, 55);
PIN(FAILOVER_EVENT_NOTIFY_LOST, 56);
PIN(FAILOVER_EVENT_NOTIFY_TEST, 57);
PIN(FAILOVER_SEVERITY_DEBUG, 0);
PIN(FAILOVER_SEVERITY_INFO, 1);
PIN(FAILOVER_SEVERITY_WARNING, 2);
PIN(FAILOVER_SEVERITY_ALARM, 3);
PIN(FAILOVER_TASK_UP, 1);
PIN(FAILOVER_TASK_IMPAIRED, 2);
PIN(FAILOVER_TASK_DOWN, 3);
PIN(FAILOVER_TASK_UNKNOWN, 4);
PIN(FAILOVER_TASK_DONE, 5);
PIN(FAILOVER_TASK_NO_EFFECT, 6);
PIN(FAILOVER_DETAIL_SIZE, 1024);
PIN(FAILOVER_OUTCOME_OK, 1);
PIN(FAILOVER_OUTCOME_TIMEOUT, 2);
PIN(FAILOVER_OUTCOME_REFUSED, 3);
PIN(FAILOVER_OUTCOME_RESET, 4);
PIN(FAILOVER_OUTCOME_REJECTED, 5);
PIN(FAILOVER_OUTCOME_ERROR, 6);
PIN(FAILOVER_BREAKER_CLOSED, 1);
PIN(FAILOVER_BREAKER_OPEN, 2);
PIN(FAILOVER_BREAKER_HALF_OPEN, 3);
PIN(FAILOVER_BREAKER_SUCCESS, 1);
PIN(FAILOVER_BREAKER_FAILURE, 2);
PIN(FAILOVER_BREAKER_CANCELLED, 3);

// Assigned, so that a compiler checks each type; used, so that a linker needs each symbol.
int main(void)
{
    const char *(*pin_failover_code_name)(int32_t) = failover_code_name;
    const char *(*pin_failover_code_description)(int32_t) = failover_code_description;
    int32_t (*pin_failover_code_at)(size_t) = failover_code_at;
    int32_t (*pin_failover_error_code)(const failover_error *) = failover_error_code;
    const char *(*pin_failover_error_message)(const failover_error *) = failover_error_message;
    const char *(*pin_failover_error_path)(const failover_error *) = failover_error_path;
    const char *(*pin_failover_error_json)(const failover_error *) = failover_error_json;
    bool (*pin_failover_error_is_retriable)(const failover_error *) = failover_error_is_retriable;
    void (*pin_failover_error_free)(failover_error *) = failover_error_free;
    uint32_t (*pin_failover_abi_version)(void) = failover_abi_version;
    const char *(*pin_failover_version)(void) = failover_version;
    int32_t (*pin_failover_engine_new)(const char *, size_t, failover_engine **, failover_error **) = failover_engine_new;
    int32_t (*pin_failover_engine_new_from_file)(const char *, failover_engine **, failover_error **) = failover_engine_new_from_file;
    int32_t (*pin_failover_engine_start)(const failover_engine *, failover_error **) = failover_engine_start;
    int32_t (*pin_failover_engine_stop)(const failover_engine *, uint32_t, failover_error **) = failover_engine_stop;
    void (*pin_failover_engine_request_stop)(const failover_engine *) = failover_engine_request_stop;
    void (*pin_failover_engine_free)(failover_engine *) = failover_engine_free;
    int32_t (*pin_failover_engine_status)(const failover_engine *, failover_status **, failover_error **) = failover_engine_status;
    int32_t (*pin_failover_engine_status_of)(const failover_engine *, const char *, failover_status **, failover_error **) = failover_engine_status_of;
    int32_t (*pin_failover_engine_next_event)(const failover_engine *, uint32_t, failover_event **, failover_error **) = failover_engine_next_event;
    int32_t (*pin_failover_engine_event_fd)(const failover_engine *, int *, failover_error **) = failover_engine_event_fd;
    int32_t (*pin_failover_engine_wake)(const failover_engine *, failover_error **) = failover_engine_wake;
    int32_t (*pin_failover_engine_on_event)(const failover_engine *, failover_event_fn, void *, failover_free_fn, failover_error **) = failover_engine_on_event;
    int32_t (*pin_failover_engine_confirm)(const failover_engine *, const char *, failover_error **) = failover_engine_confirm;
    int32_t (*pin_failover_engine_confirm_all)(const failover_engine *, failover_error **) = failover_engine_confirm_all;
    int32_t (*pin_failover_engine_pause)(const failover_engine *, const char *, failover_error **) = failover_engine_pause;
    int32_t (*pin_failover_engine_pause_with)(const failover_engine *, const char *, const char *, uint32_t, failover_error **) = failover_engine_pause_with;
    int32_t (*pin_failover_engine_resume)(const failover_engine *, const char *, failover_error **) = failover_engine_resume;
    int32_t (*pin_failover_engine_reset)(const failover_engine *, const char *, failover_error **) = failover_engine_reset;
    int32_t (*pin_failover_engine_adopt)(const failover_engine *, const char *, const char *, failover_error **) = failover_engine_adopt;
    int32_t (*pin_failover_engine_cordon)(const failover_engine *, const char *, const char *, failover_error **) = failover_engine_cordon;
    int32_t (*pin_failover_engine_uncordon)(const failover_engine *, const char *, const char *, failover_error **) = failover_engine_uncordon;
    int32_t (*pin_failover_engine_clone)(const failover_engine *, const char *, const char *, int32_t, failover_error **) = failover_engine_clone;
    int32_t (*pin_failover_engine_rebuild)(const failover_engine *, const char *, const char *, int32_t, failover_error **) = failover_engine_rebuild;
    int32_t (*pin_failover_engine_rejoin)(const failover_engine *, const char *, const char *, int32_t, failover_error **) = failover_engine_rejoin;
    int32_t (*pin_failover_engine_force)(const failover_engine *, const char *, const char *, uint64_t, failover_error **) = failover_engine_force;
    int32_t (*pin_failover_engine_switchover)(const failover_engine *, const char *, const char *, uint64_t, uint64_t *, failover_error **) = failover_engine_switchover;
    int32_t (*pin_failover_engine_switchover_cancel)(const failover_engine *, const char *, failover_error **) = failover_engine_switchover_cancel;
    int32_t (*pin_failover_engine_switchover_preflight)(const failover_engine *, const char *, const char *, failover_report **, failover_error **) = failover_engine_switchover_preflight;
    int32_t (*pin_failover_engine_survived_xid)(const failover_engine *, const char *, uint64_t, uint32_t, failover_report **, failover_error **) = failover_engine_survived_xid;
    int32_t (*pin_failover_engine_survived_lsn)(const failover_engine *, const char *, const char *, uint32_t, failover_report **, failover_error **) = failover_engine_survived_lsn;
    int32_t (*pin_failover_engine_force_with)(const failover_engine *, const char *, const char *, uint64_t, uint64_t *, failover_error **) = failover_engine_force_with;
    int32_t (*pin_failover_engine_reload_from_file)(const failover_engine *, const char *, failover_error **) = failover_engine_reload_from_file;
    int32_t (*pin_failover_engine_reload)(const failover_engine *, const char *, size_t, failover_error **) = failover_engine_reload;
    int32_t (*pin_failover_event_kind)(const failover_event *) = failover_event_kind;
    const char *(*pin_failover_event_kind_name)(int32_t) = failover_event_kind_name;
    int32_t (*pin_failover_event_kind_at)(size_t) = failover_event_kind_at;
    int32_t (*pin_failover_event_severity)(const failover_event *) = failover_event_severity;
    uint64_t (*pin_failover_event_seq)(const failover_event *) = failover_event_seq;
    uint64_t (*pin_failover_event_time_ns)(const failover_event *) = failover_event_time_ns;
    uint64_t (*pin_failover_event_mono_ns)(const failover_event *) = failover_event_mono_ns;
    uint64_t (*pin_failover_event_generation)(const failover_event *) = failover_event_generation;
    const char *(*pin_failover_event_service)(const failover_event *) = failover_event_service;
    const char *(*pin_failover_event_server)(const failover_event *) = failover_event_server;
    const char *(*pin_failover_event_message)(const failover_event *) = failover_event_message;
    const char *(*pin_failover_event_json)(const failover_event *) = failover_event_json;
    uint64_t (*pin_failover_event_task_id)(const failover_event *) = failover_event_task_id;
    uint64_t (*pin_failover_event_deadline_ms)(const failover_event *) = failover_event_deadline_ms;
    failover_event *(*pin_failover_event_ref)(const failover_event *) = failover_event_ref;
    void (*pin_failover_event_free)(failover_event *) = failover_event_free;
    const char *(*pin_failover_status_json)(const failover_status *) = failover_status_json;
    const char *(*pin_failover_status_metrics)(const failover_status *, bool) = failover_status_metrics;
    size_t (*pin_failover_status_service_count)(const failover_status *) = failover_status_service_count;
    const char *(*pin_failover_status_service)(const failover_status *, size_t) = failover_status_service;
    const char *(*pin_failover_status_state)(const failover_status *, const char *) = failover_status_state;
    const char *(*pin_failover_status_primary)(const failover_status *, const char *) = failover_status_primary;
    uint64_t (*pin_failover_status_generation)(const failover_status *, const char *) = failover_status_generation;
    const char *(*pin_failover_status_health)(const failover_status *, const char *) = failover_status_health;
    bool (*pin_failover_status_would_fail_over)(const failover_status *, const char *) = failover_status_would_fail_over;
    void (*pin_failover_status_free)(failover_status *) = failover_status_free;
    int32_t (*pin_failover_engine_register_check)(const failover_engine *, const char *, failover_task_fn, void *, failover_free_fn, failover_error **) = failover_engine_register_check;
    int32_t (*pin_failover_engine_offer_check)(const failover_engine *, const char *, failover_error **) = failover_engine_offer_check;
    int32_t (*pin_failover_engine_register_action)(const failover_engine *, const char *, failover_task_fn, void *, failover_free_fn, failover_error **) = failover_engine_register_action;
    int32_t (*pin_failover_engine_offer_action)(const failover_engine *, const char *, failover_error **) = failover_engine_offer_action;
    int32_t (*pin_failover_task_complete)(const failover_engine *, uint64_t, int32_t, const char *, size_t, failover_error **) = failover_task_complete;
    int32_t (*pin_failover_engine_report_outcome)(const failover_engine *, const char *, const char *, int32_t, failover_error **) = failover_engine_report_outcome;
    int32_t (*pin_failover_breaker_new)(uint32_t, uint32_t, uint32_t, failover_breaker **, failover_error **) = failover_breaker_new;
    int32_t (*pin_failover_breaker_permit)(const failover_breaker *, uint64_t *, failover_error **) = failover_breaker_permit;
    int32_t (*pin_failover_breaker_settle)(const failover_breaker *, uint64_t, int32_t, failover_error **) = failover_breaker_settle;
    int32_t (*pin_failover_breaker_state)(const failover_breaker *) = failover_breaker_state;
    void (*pin_failover_breaker_reset)(const failover_breaker *) = failover_breaker_reset;
    void (*pin_failover_breaker_free)(failover_breaker *) = failover_breaker_free;
    const char *(*pin_failover_event_host)(const failover_event *) = failover_event_host;
    uint16_t (*pin_failover_event_port)(const failover_event *) = failover_event_port;
    const char *(*pin_failover_status_primary_host)(const failover_status *, const char *) = failover_status_primary_host;
    uint16_t (*pin_failover_status_primary_port)(const failover_status *, const char *) = failover_status_primary_port;
    int32_t (*pin_failover_engine_check_all)(const failover_engine *, uint32_t, failover_report **, failover_error **) = failover_engine_check_all;
    int32_t (*pin_failover_engine_doctor)(const failover_engine *, const char *, uint32_t, failover_report **, failover_error **) = failover_engine_doctor;
    int32_t (*pin_failover_engine_config)(const failover_engine *, failover_report **, failover_error **) = failover_engine_config;
    int32_t (*pin_failover_config_validate)(const char *, size_t, failover_report **, failover_error **) = failover_config_validate;
    int32_t (*pin_failover_config_validate_from_file)(const char *, failover_report **, failover_error **) = failover_config_validate_from_file;
    int32_t (*pin_failover_config_effective)(const char *, size_t, failover_report **, failover_error **) = failover_config_effective;
    int32_t (*pin_failover_config_effective_from_file)(const char *, failover_report **, failover_error **) = failover_config_effective_from_file;
    int32_t (*pin_failover_replay)(const char *, failover_report **, failover_error **) = failover_replay;
    const char *(*pin_failover_report_json)(const failover_report *) = failover_report_json;
    bool (*pin_failover_report_passed)(const failover_report *) = failover_report_passed;
    void (*pin_failover_report_free)(failover_report *) = failover_report_free;
    return !(
        pin_failover_code_name &&
        pin_failover_code_description &&
        pin_failover_code_at &&
        pin_failover_error_code &&
        pin_failover_error_message &&
        pin_failover_error_path &&
        pin_failover_error_json &&
        pin_failover_error_is_retriable &&
        pin_failover_error_free &&
        pin_failover_abi_version &&
        pin_failover_version &&
        pin_failover_engine_new &&
        pin_failover_engine_new_from_file &&
        pin_failover_engine_start &&
        pin_failover_engine_stop &&
        pin_failover_engine_request_stop &&
        pin_failover_engine_free &&
        pin_failover_engine_status &&
        pin_failover_engine_status_of &&
        pin_failover_engine_next_event &&
        pin_failover_engine_event_fd &&
        pin_failover_engine_wake &&
        pin_failover_engine_on_event &&
        pin_failover_engine_confirm &&
        pin_failover_engine_confirm_all &&
        pin_failover_engine_pause &&
        pin_failover_engine_pause_with &&
        pin_failover_engine_resume &&
        pin_failover_engine_reset &&
        pin_failover_engine_adopt &&
        pin_failover_engine_cordon &&
        pin_failover_engine_uncordon &&
        pin_failover_engine_clone &&
        pin_failover_engine_rebuild &&
        pin_failover_engine_rejoin &&
        pin_failover_engine_force &&
        pin_failover_engine_switchover &&
        pin_failover_engine_switchover_cancel &&
        pin_failover_engine_switchover_preflight && pin_failover_engine_survived_xid && pin_failover_engine_survived_lsn &&
        pin_failover_engine_force_with &&
        pin_failover_engine_reload &&
        pin_failover_engine_reload_from_file &&
        pin_failover_event_kind &&
        pin_failover_event_kind_name &&
        pin_failover_event_kind_at &&
        pin_failover_event_severity &&
        pin_failover_event_seq &&
        pin_failover_event_time_ns &&
        pin_failover_event_mono_ns &&
        pin_failover_event_generation &&
        pin_failover_event_service &&
        pin_failover_event_server &&
        pin_failover_event_message &&
        pin_failover_event_json &&
        pin_failover_event_task_id &&
        pin_failover_event_deadline_ms &&
        pin_failover_event_ref &&
        pin_failover_event_free &&
        pin_failover_status_json &&
        pin_failover_status_metrics &&
        pin_failover_status_service_count &&
        pin_failover_status_service &&
        pin_failover_status_state &&
        pin_failover_status_primary &&
        pin_failover_status_generation &&
        pin_failover_status_health &&
        pin_failover_status_would_fail_over &&
        pin_failover_status_free &&
        pin_failover_engine_register_check &&
        pin_failover_engine_offer_check &&
        pin_failover_engine_register_action &&
        pin_failover_engine_offer_action &&
        pin_failover_task_complete &&
        pin_failover_engine_report_outcome &&
        pin_failover_breaker_new &&
        pin_failover_breaker_permit &&
        pin_failover_breaker_settle &&
        pin_failover_breaker_state &&
        pin_failover_breaker_reset &&
        pin_failover_event_host &&
        pin_failover_event_port &&
        pin_failover_status_primary_host &&
        pin_failover_status_primary_port &&
        pin_failover_engine_check_all &&
        pin_failover_engine_doctor &&
        pin_failover_engine_config &&
        pin_failover_config_validate &&
        pin_failover_config_validate_from_file &&
        pin_failover_config_effective &&
        pin_failover_config_effective_from_file &&
        pin_failover_replay &&
        pin_failover_report_json &&
        pin_failover_report_passed &&
        pin_failover_report_free &&
        pin_failover_breaker_free);
}
