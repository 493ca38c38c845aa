package failover

/*
#include <failover.h>
*/
import "C"

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Kind is what an event is about, by its word, such as "failover_completed". A newer library may have kinds that are not listed here:
// ignore or log them.
type Kind string

// The kinds.
const (
	// generated: kinds
	EngineStarted        Kind = "engine_started"
	EngineStopped        Kind = "engine_stopped"
	ConfigReloaded       Kind = "config_reloaded"
	Observed             Kind = "observed"
	HealthChanged        Kind = "health_changed"
	StateChanged         Kind = "state_changed"
	SessionClosed        Kind = "session_closed"
	ConfirmationStarted  Kind = "confirmation_started"
	EvidenceGathered     Kind = "evidence_gathered"
	FailureConfirmed     Kind = "failure_confirmed"
	FailoverSuppressed   Kind = "failover_suppressed"
	FailoverRefused      Kind = "failover_refused"
	AwaitingConfirmation Kind = "awaiting_confirmation"
	FailoverStarted      Kind = "failover_started"
	FailoverResumed      Kind = "failover_resumed"
	StepStarted          Kind = "step_started"
	StepFinished         Kind = "step_finished"
	PointOfNoReturn      Kind = "point_of_no_return"
	FailoverCompleted    Kind = "failover_completed"
	FailoverFailed       Kind = "failover_failed"
	RolledBack           Kind = "rolled_back"
	ManualIntervention   Kind = "manual_intervention"
	PrimaryKnown         Kind = "primary_known"
	StandbyNotReady      Kind = "standby_not_ready"
	StandbyReady         Kind = "standby_ready"
	TwoPrimaries         Kind = "two_primaries"
	WrongCluster         Kind = "wrong_cluster"
	RouteAsserted        Kind = "route_asserted"
	OldPrimaryReturned   Kind = "old_primary_returned"
	DoubtRaised          Kind = "doubt_raised"
	DoubtCleared         Kind = "doubt_cleared"
	ReadinessChanged     Kind = "readiness_changed"
	OperatorCommand      Kind = "operator_command"
	JournalState         Kind = "journal_state"
	TaskCheck            Kind = "task_check"
	TaskAction           Kind = "task_action"
	Overflow             Kind = "overflow"
	Faulted              Kind = "faulted"
	Log                  Kind = "log"
	FalsePositive        Kind = "false_positive"
	BreakerChanged       Kind = "breaker_changed"
	OtherBranch          Kind = "other_branch"
	StandbyRepointed     Kind = "standby_repointed"
	StandbyNotRepointed  Kind = "standby_not_repointed"
	SyncNamesRestored    Kind = "sync_names_restored"
	RejoinStarted        Kind = "rejoin_started"
	RejoinStep           Kind = "rejoin_step"
	LostTransactions     Kind = "lost_transactions"
	RejoinEnded          Kind = "rejoin_ended"
	SyncSetChanged       Kind = "sync_set_changed"
	SyncSetShort         Kind = "sync_set_short"
	SyncSetNotKept       Kind = "sync_set_not_kept"
	CopyProgress         Kind = "copy_progress"
	OldDataKept          Kind = "old_data_kept"
	NotifyState          Kind = "notify_state"
	NotifyLost           Kind = "notify_lost"
	NotifyTest           Kind = "notify_test"
	// end
)

// Severity is the severity of an event.
type Severity int

// The severities.
const (
	// Debug: of interest when searching for a cause; single observations.
	Debug Severity = C.FAILOVER_SEVERITY_DEBUG
	// Info: something ordinary happened.
	Info Severity = C.FAILOVER_SEVERITY_INFO
	// Warning: something is wrong, and does not need a person now.
	Warning Severity = C.FAILOVER_SEVERITY_WARNING
	// Alarm: a person should look.
	Alarm Severity = C.FAILOVER_SEVERITY_ALARM
)

// String is the word of a severity.
func (s Severity) String() string {
	switch s {
	case Debug:
		return "debug"
	case Info:
		return "info"
	case Warning:
		return "warning"
	case Alarm:
		return "alarm"
	}
	return fmt.Sprintf("severity %d", int(s))
}

// Event is something that happened.
type Event struct {
	Kind     Kind     `json:"kind"`
	Severity Severity `json:"-"`
	// Seq is its sequence number, from 1. A gap means that events were dropped; an event of kind Overflow fills it.
	Seq uint64 `json:"seq"`
	// Time is the wall clock, for people only.
	Time time.Time `json:"-"`
	// MonoNs is in nanoseconds on the engine's monotonic clock, since the engine was made.
	MonoNs uint64 `json:"mono_ns"`
	// Generation is the number of the failover it belongs to, or of the service's last one; 0 before the first.
	Generation uint64 `json:"generation"`
	// Service and Server are what it is about; empty where it is about none.
	Service string `json:"service"`
	Server  string `json:"server"`
	// Host and Port are those of that server by configuration: FailoverCompleted and PrimaryKnown are about the new primary.
	Host string `json:"host"`
	Port uint16 `json:"port"`
	// Message is one sentence for people.
	Message string `json:"message"`
	// Remedy is what mends what it tells; empty where nothing is to be mended, or how is not known.
	Remedy string `json:"remedy"`
	// Fields is what belongs to its kind: string, bool, int64 (a whole number), float64 (a time in milliseconds), []any and
	// map[string]any of those; uint64 where a whole number is too large for int64.
	Fields map[string]any `json:"fields"`
}

// take reads an event and frees it.
func take(handle *C.failover_event) (Event, error) {
	defer C.failover_event_free(handle)
	var event Event
	decoder := json.NewDecoder(strings.NewReader(C.GoString(C.failover_event_json(handle))))
	// A number in any would be a float64, which holds no more than 53 bits.
	decoder.UseNumber()
	if err := decoder.Decode(&event); err != nil {
		return Event{}, fmt.Errorf("an event could not be read: %w", err)
	}
	for name, value := range event.Fields {
		event.Fields[name] = plain(value)
	}
	event.Severity = Severity(C.failover_event_severity(handle))
	event.Time = time.Unix(0, int64(C.failover_event_time_ns(handle)))
	return event, nil
}

// plain is a value of JSON with numbers of Go's own types.
func plain(value any) any {
	switch value := value.(type) {
	case json.Number:
		if whole, err := value.Int64(); err == nil {
			return whole
		}
		if whole, err := strconv.ParseUint(value.String(), 10, 64); err == nil {
			return whole
		}
		number, _ := value.Float64()
		return number
	case []any:
		for at := range value {
			value[at] = plain(value[at])
		}
	case map[string]any:
		for name := range value {
			value[name] = plain(value[name])
		}
	}
	return value
}

const capacity = 1024

// room is how full the channel may be for an event of this kind to find a place in it.
func (k Kind) room() int {
	switch k {
	case Observed, Log, TaskCheck:
		// It comes again, or is served elsewhere.
		return capacity
	case PrimaryKnown, FailoverStarted, PointOfNoReturn, FailoverCompleted, FailoverFailed, RolledBack, ManualIntervention,
		TwoPrimaries, OldPrimaryReturned, Faulted, EngineStopped:
		// Who is primary and what a failover came to.
		return 3*capacity + 1
	}
	return 2 * capacity
}

// outlet is the channel of events. The goroutine that fills it never waits: it drops and counts what no reader takes.
type outlet struct {
	events  chan Event
	dropped uint64
	lost    Event
}

func newOutlet() outlet {
	return outlet{events: make(chan Event, 3*capacity+2)}
}

func (o *outlet) put(event Event) {
	if len(o.events) >= event.Kind.room()-1 {
		o.dropped++
		o.lost = event
		return
	}
	if o.dropped > 0 {
		news := Event{
			Kind: Overflow, Severity: Warning, Seq: o.lost.Seq, Time: o.lost.Time, MonoNs: o.lost.MonoNs,
			Message: fmt.Sprintf("%d events were dropped here because they were not taken in time", o.dropped),
			Fields:  map[string]any{"dropped": int64(o.dropped)},
		}
		select {
		case o.events <- news:
			o.dropped = 0
		default:
			// There is room as soon as one was taken; until then it goes on counting.
		}
	}
	select {
	case o.events <- event:
	default:
		o.dropped++
		o.lost = event
	}
}
