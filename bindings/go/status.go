package failover

/*
#include <failover.h>
*/
import "C"

import (
	"encoding/json"
	"fmt"
	"time"
)

// Status is the state of the engine and its services at one moment. The fields that most programs need are typed; Raw has all of them, as
// `failover status --json` prints them.
type Status struct {
	Version string `json:"version"`
	// Engine is "new", "running", "stopping" or "stopped".
	Engine   string `json:"engine"`
	UptimeMs uint64 `json:"uptime_ms"`
	// Faulted is the bug that froze all decisions; empty where there was none.
	Faulted string `json:"faulted"`
	// Doubt is why the engine may not trust its own view now; empty when it may.
	Doubt    string          `json:"doubt"`
	Services []ServiceStatus `json:"services"`
	// HostFunctions is what checks of kind "host" ask the program for.
	HostFunctions []HostFunction  `json:"host_functions"`
	Raw           json.RawMessage `json:"-"`
}

// HostFunction is what checks of kind "host" ask the program for.
type HostFunction struct {
	Name string `json:"name"`
	// AnsweredBy is "function" or "tasks"; empty: nobody, and the engine does not start.
	AnsweredBy string `json:"answered_by"`
}

// Service is the service of that name; nil where there is none.
func (s *Status) Service(name string) *ServiceStatus {
	if s == nil {
		return nil
	}
	for at := range s.Services {
		if s.Services[at].Name == name {
			return &s.Services[at]
		}
	}
	return nil
}

// ServiceStatus is one service.
type ServiceStatus struct {
	Name string `json:"name"`
	Kind string `json:"kind"`
	// State is "normal", "degraded", "failing", "failover_in_progress", "failed_over" or "manual_intervention"; Reason says why.
	State                string `json:"state"`
	Reason               string `json:"reason"`
	Paused               bool   `json:"paused"`
	AwaitingConfirmation bool   `json:"awaiting_confirmation"`
	// Missing is what the service lacks although its primary is healthy, so that it is "degraded": "no_standby", or a finding of the route.
	Missing []Reason `json:"missing"`
	// Pause is why, and for how long, it is paused; nil while it is not.
	Pause *Pause `json:"pause"`
	// PlannedSwitchover begins later; nil where none is planned.
	PlannedSwitchover *PlannedSwitchover `json:"planned_switchover"`
	// SyncSet is the set of standbys that commits wait for; nil where the engine does not keep it.
	SyncSet *SyncSet `json:"sync_set"`
	// Topology has the servers of a database, each behind the one from which it receives.
	Topology []TopologyNode `json:"topology"`
	// Tolerates is what the cluster still bears.
	Tolerates []Death `json:"tolerates"`
	// Primary is empty until it is known.
	Primary string `json:"primary"`
	// Generation is the number of the last failover or switch by hand; 0 before the first.
	Generation uint64         `json:"generation"`
	Servers    []ServerStatus `json:"servers"`
	// Readiness is the findings, those that block a failover first.
	Readiness []Finding `json:"readiness"`
	// Refusals is why no failover would start now.
	Refusals []Reason `json:"refusals"`
	Forecast Forecast `json:"forecast"`
	// Failover is the one in flight, or the last one; nil before the first.
	Failover *LastFailover `json:"failover"`
}

// Slot is a replication slot.
type Slot struct {
	Name string `json:"name"`
	// Kind is "physical" or "logical".
	Kind   string `json:"kind"`
	Active bool   `json:"active"`
	// HeldBytes is how much log it holds; nil: none, or not known.
	HeldBytes *uint64 `json:"held_bytes"`
	// WALStatus is "reserved", "extended", "unreserved" or "lost"; empty where it holds no log.
	WALStatus string `json:"wal_status"`
}

// TopologyNode is a server in the tree of who streams from whom. What is not known is nil or empty, never 0: also of one that does not answer.
type TopologyNode struct {
	Server string `json:"server"`
	// Upstream is the server from which it receives; Depth is how many are above it.
	Upstream string `json:"upstream"`
	Depth    uint32 `json:"depth"`
	// Replication is "primary", "writable", "streaming", "not_streaming", "hidden" or "unknown".
	Replication string `json:"replication"`
	// SyncState is "sync", "quorum", "potential" or "async".
	SyncState string  `json:"sync_state"`
	Timeline  *uint32 `json:"timeline"`
	LagBytes  *uint64 `json:"lag_bytes"`
	LagMs     *uint64 `json:"lag_ms"`
	// Doing is what it is doing now, for people.
	Doing  string  `json:"doing"`
	SeenMs *uint64 `json:"seen_ms"`
	// Slots is nil where they are not known.
	Slots []Slot `json:"slots"`
}

// Death is what would happen when so many primaries have died one after the other, each after the failover before it has settled.
type Death struct {
	Deaths uint32 `json:"deaths"`
	// Candidate would take over; empty: nobody.
	Candidate string `json:"candidate"`
	Message   string `json:"message"`
}

// Pause is the present pause.
type Pause struct {
	// Reason is in the operator's words; empty where none was given.
	Reason string `json:"reason"`
	// LeftMs is how long it still lasts; nil: until it is resumed.
	LeftMs *uint64 `json:"left_ms"`
	// Withheld is what the engine does not do because of the pause: "unfinished_failover", "route", "names", "weight", "old_primary",
	// "follow".
	Withheld []Reason `json:"withheld"`
}

// SyncSet is the set of standbys that commits wait for (data.synchronous = "maintain").
type SyncSet struct {
	// Wanted is how many standbys a commit is to wait for.
	Wanted uint32 `json:"wanted"`
	// Names is synchronous_standby_names of the primary; empty: commits wait for no standby.
	Names string `json:"names"`
	// Members may have acknowledged a commit; during a change also those of before.
	Members []string `json:"members"`
	// Short: fewer than Wanted can acknowledge.
	Short bool `json:"short"`
	// Changing: a change is not confirmed yet.
	Changing bool `json:"changing"`
	// Problem is why the engine cannot keep the set; empty: it can.
	Problem string `json:"problem"`
}

// PlannedSwitchover is a switchover that begins later.
type PlannedSwitchover struct {
	// To is the standby that is promoted; empty for the best one at that moment.
	To string `json:"to"`
	// At is when it begins: RFC 3339, UTC.
	At     string `json:"at"`
	LeftMs uint64 `json:"left_ms"`
}

// Server is the server of that name; nil where there is none.
func (s *ServiceStatus) Server(name string) *ServerStatus {
	if s == nil {
		return nil
	}
	for at := range s.Servers {
		if s.Servers[at].Name == name {
			return &s.Servers[at]
		}
	}
	return nil
}

// Health is that of the primary: "unknown", "healthy", "degraded" or "unhealthy".
func (s *ServiceStatus) Health() string {
	if s == nil {
		return "unknown"
	}
	if primary := s.Server(s.Primary); primary != nil {
		return primary.Health
	}
	return "unknown"
}

// ServerStatus is one server.
type ServerStatus struct {
	Name string `json:"name"`
	// Role is "primary", "standby", "writable", "foreign" or "unknown".
	Role string `json:"role"`
	// Health is "unknown", "healthy", "degraded" or "unhealthy".
	Health string `json:"health"`
	// Host and Port are by configuration; a host that begins with "/" is the folder of a UNIX socket.
	Host string `json:"host"`
	Port uint16 `json:"port"`
	// Answers: something answers there that only a living server gives.
	Answers bool `json:"answers"`
	// Deposed: a former primary that has not been rejoined.
	Deposed bool `json:"deposed"`
	// Cordoned: an operator keeps it from being promoted.
	Cordoned bool `json:"cordoned"`
	// NotPromotable is why a standby could not be promoted now; nil when it could.
	NotPromotable *Reason       `json:"not_promotable"`
	Checks        []CheckStatus `json:"checks"`
}

// CheckStatus is one check.
type CheckStatus struct {
	Name   string `json:"name"`
	Kind   string `json:"kind"`
	Health string `json:"health"`
	// Verdict is the last answer, "up", "impaired", "down" or "unknown"; empty before the first.
	Verdict string `json:"verdict"`
	Message string `json:"message"`
	// Remedy is what mends it; empty where nothing is known.
	Remedy string `json:"remedy"`
	// LatencyMs is how long the last run took, AgeMs how long ago it ended.
	LatencyMs float64 `json:"latency_ms"`
	AgeMs     uint64  `json:"age_ms"`
}

// Reason is a stable name, and the evidence in one sentence.
type Reason struct {
	Code    string `json:"code"`
	Message string `json:"message"`
	// Remedy is what mends it; empty where the message says it, or only time can.
	Remedy string `json:"remedy"`
}

// Finding is one thing that would hurt at failover time.
type Finding struct {
	// Server is whose it is; empty of the route and of the engine.
	Server string `json:"server"`
	// Code is one of the constants that begin with Finding.
	Code string `json:"code"`
	// Blocking: a failover would not work; otherwise it would be slower or riskier.
	Blocking bool   `json:"blocking"`
	Message  string `json:"message"`
	// Why it matters at failover time.
	Why    string `json:"why"`
	Remedy string `json:"remedy"`
	// AskedMs is how long ago it was found.
	AskedMs uint64 `json:"asked_ms"`
}

// Forecast is what would happen if the primary died now.
type Forecast struct {
	WouldFailOver bool `json:"would_fail_over"`
	// Candidate is the standby that would be promoted.
	Candidate string `json:"candidate"`
	// LossBytes is how much of the log could be missing: read where LossExact says so, else estimated; nil when it is not known. Loss
	// says it in the words in which the record of a failover would.
	LossBytes *uint64 `json:"loss_bytes"`
	LossExact bool    `json:"loss_exact"`
	// HoldsAcknowledged: no acknowledged commit that waited for a standby can be missing. Sessions that set
	// synchronous_commit to off or local do not wait; what LossBytes counts may hold their commits.
	HoldsAcknowledged bool   `json:"holds_acknowledged"`
	Loss              string `json:"loss"`
	// Salvage: log that only the primary's disk has would be carried to the standby before its promotion, while the primary's host
	// answers: then nothing is lost. SalvageHindered says why it would not be done; empty where it is switched off.
	Salvage         bool   `json:"salvage"`
	SalvageHindered string `json:"salvage_hindered"`
	// Preferred says why this standby and not the next best one; empty when there is no other.
	Preferred string   `json:"preferred"`
	Message   string   `json:"message"`
	Reasons   []Reason `json:"reasons"`
}

// LastFailover is the failover in flight, or the last one.
type LastFailover struct {
	Generation uint64 `json:"generation"`
	// Outcome is "in_progress", "completed", "rolled_back" or "manual_intervention"; Reason says why it was not completed.
	Outcome string `json:"outcome"`
	Reason  string `json:"reason"`
	// Step is the one in flight; empty when there is none.
	Step string `json:"step"`
	// From and To are the old primary and the new one.
	From string `json:"from"`
	To   string `json:"to"`
	// LossBytes is nil where it is not known, also where the estimate is 0; it is estimated, unless LossExact. Loss says it in the
	// words of the record.
	LossBytes *uint64 `json:"loss_bytes"`
	LossExact bool    `json:"loss_exact"`
	// HoldsAcknowledged: no acknowledged commit that waited for a standby can be missing. Sessions that set
	// synchronous_commit to off or local do not wait; what LossBytes counts may hold their commits.
	HoldsAcknowledged bool   `json:"holds_acknowledged"`
	Loss              string `json:"loss"`
	// Salvage is what came of carrying over log that only the old primary's disk had: "off", "not_needed", "not_tried", "failed",
	// "nothing_missing", "part" or "all"; empty for an application. The numbers are nil where the end of that log was not read.
	Salvage           string  `json:"salvage"`
	MissingBytes      *uint64 `json:"missing_bytes"`
	SalvagedBytes     *uint64 `json:"salvaged_bytes"`
	StillMissingBytes *uint64 `json:"still_missing_bytes"`
	SalvagedCommits   *uint64 `json:"salvaged_commits"`
	// TotalMs is from the first failed observation to the end; nil before that.
	TotalMs *float64 `json:"total_ms"`
}

// Uptime is how long the engine has been running.
func (s *Status) Uptime() time.Duration {
	return time.Duration(s.UptimeMs) * time.Millisecond
}

func readStatus(document []byte) (Status, error) {
	status := Status{Raw: document}
	if err := json.Unmarshal(document, &status); err != nil {
		return Status{}, fmt.Errorf("the status could not be read: %w", err)
	}
	return status, nil
}
