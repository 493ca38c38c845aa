package failover

/*
#include <failover.h>
#include <stdlib.h>
*/
import "C"

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"
)

// How long a report may take where its context has no deadline.
const reportPatience = time.Minute

// CheckSummary is the result of CheckAll. The fields that most programs need are typed; Raw has all of them, as `failover check --json`
// prints them.
type CheckSummary struct {
	// AllUp: every check is "up", but for those that the program itself answers and did not answer.
	AllUp bool `json:"all_up"`
	// Ready: no finding is blocking.
	Ready bool `json:"ready"`
	// Checks is each check.
	Checks []CheckResult `json:"checks"`
	// Readiness is what would hurt at failover time: of the engine itself first, then of each service what would stop a failover first.
	Readiness []ServiceFinding `json:"readiness"`
	// Forecasts is what would happen if a primary died now, of each service that can be failed over.
	Forecasts []ServiceForecast `json:"forecasts"`
	Raw       json.RawMessage   `json:"-"`
}

// Passed: everything is up, and nothing would stop a failover.
func (s *CheckSummary) Passed() bool { return s != nil && s.AllUp && s.Ready }

// CheckResult is one check that was run once.
type CheckResult struct {
	Service string `json:"service"`
	Server  string `json:"server"`
	Check   string `json:"check"`
	Kind    string `json:"kind"`
	// Verdict is "up", "impaired", "down" or "unknown"; Reason is what is behind it, empty for "up".
	Verdict string `json:"verdict"`
	Reason  string `json:"reason"`
	Message string `json:"message"`
	// Remedy is what mends it; empty where nothing is known.
	Remedy    string  `json:"remedy"`
	LatencyMs float64 `json:"latency_ms"`
}

// ServiceFinding is a finding, and of which service; empty of the engine itself.
type ServiceFinding struct {
	Service string `json:"service"`
	Finding
}

// ServiceForecast is what would happen if the primary of a service died now: in one sentence, which knows the findings, and in detail.
type ServiceForecast struct {
	Service  string   `json:"service"`
	Sentence string   `json:"sentence"`
	Forecast Forecast `json:"forecast"`
}

// PreflightLine is one thing that was looked at before a switchover.
type PreflightLine struct {
	Name string `json:"name"`
	// Level is "ok", "warning" or "refused".
	Level   string `json:"level"`
	Message string `json:"message"`
	// Remedy is what mends it; empty where nothing has to be mended.
	Remedy string `json:"remedy"`
}

// Preflight is the result of SwitchoverPreflight. Raw is what `failover switchover --dry-run --json` prints.
type Preflight struct {
	// Ready: a switchover would begin.
	Ready bool            `json:"-"`
	Lines []PreflightLine `json:"preflight"`
	Raw   json.RawMessage `json:"-"`
}

// Commit is a commit, as its client remembers it: either Xid, what pg_current_xact_id() said inside the transaction, with the Timeline on which
// it ran, or 0 where that is not known; or LSN, a position of the log such as "0/3000148", with its Timeline: everything before it.
type Commit struct {
	Xid      uint64
	LSN      string
	Timeline uint32
}

// Survived is what Engine.Survived found out. Raw is what `failover survived --json` prints.
type Survived struct {
	// Survived is "yes", "no" or "unknown".
	Survived string `json:"survived"`
	// Reason is why, in one word; Message in one sentence.
	Reason  string `json:"reason"`
	Message string `json:"message"`
	// Primary is the server that was asked, Timeline the one on which it writes; empty and 0 where none was.
	Primary  string          `json:"primary"`
	Timeline uint32          `json:"timeline"`
	Raw      json.RawMessage `json:"-"`
}

// DoctorReport is the result of Doctor. Raw is what `failover doctor --json` prints.
type DoctorReport struct {
	Service string `json:"service"`
	// Ready: no finding is blocking.
	Ready bool `json:"ready"`
	// Sentence is what would happen if the primary died now, Forecast the same in detail; empty and nil of a service that cannot be failed over.
	Sentence string    `json:"sentence"`
	Forecast *Forecast `json:"forecast"`
	// Findings is what would hurt at failover time, what would stop it first.
	Findings []Finding       `json:"findings"`
	Raw      json.RawMessage `json:"-"`
}

// Validation is the result of Validate. Raw is what `failover validate --json` prints.
type Validation struct {
	// File is empty of what was no file.
	File string `json:"file"`
	// Valid: an engine can be made of it.
	Valid bool `json:"valid"`
	// Errors is every mistake at once; Warnings is what looks wrong but does not stop the engine.
	Errors   []Problem       `json:"errors"`
	Warnings []Problem       `json:"warnings"`
	Raw      json.RawMessage `json:"-"`
}

// Problem is a mistake in a configuration, or what looks like one.
type Problem struct {
	// Path is the JSON pointer to the value.
	Path string `json:"path"`
	// Line and Column count from 1; 0 where they are not known.
	Line   int `json:"line"`
	Column int `json:"column"`
	// Value is what stands there, shortened; secrets are masked.
	Value string `json:"value"`
	// Reason says what is wrong with it, Remedy what to write instead.
	Reason string `json:"reason"`
	Remedy string `json:"remedy"`
}

// ReplayReport is the result of Replay. Raw is what `failover replay --json` prints.
type ReplayReport struct {
	// Same: this version comes to the same decision, bit for bit; else Differences says what differs.
	Same        bool     `json:"same"`
	Differences []string `json:"differences"`
	// Version is that of the library that decided, Time when it did: RFC 3339, UTC.
	Version string `json:"version"`
	Time    string `json:"time"`
	Service string `json:"service"`
	// Kind is "failover", or the name of the event that says why there is none; Why is the decision in one sentence.
	Kind       string `json:"kind"`
	Why        string `json:"why"`
	Generation uint64 `json:"generation"`
	// Inputs were replayed, over SpanMs milliseconds; Events were told on the way.
	Inputs int             `json:"inputs"`
	SpanMs uint64          `json:"span_ms"`
	Events []string        `json:"events"`
	Raw    json.RawMessage `json:"-"`
}

// CheckAll runs every check once, and then says whether a failover of each service would go through: what `failover check` does. It asks
// each server over SQL and its checks, each host over SSH, each load balancer, and who answers through the route. It works before Start and
// beside a running engine, and changes nothing. Of checks that functions of the program answer counts what they last told the running engine.
//
// The deadline of the context is over all of it, a minute where it has none. An engine runs one report at a time: a second call waits for
// the first. A cancelled context ends the wait; what is being asked then ends by its deadline, or with Stop.
//
// Errors: ErrTimeout and that of the context when the time was not enough: there is no half report; ErrState when the engine was stopped,
// also meanwhile.
func (e *Engine) CheckAll(ctx context.Context) (CheckSummary, error) {
	c := e.inner()
	var summary CheckSummary
	document, err := c.report(ctx, func(handle *C.failover_engine, limit C.uint32_t, out **C.failover_report, wrong **C.failover_error) C.int32_t {
		return C.failover_engine_check_all(handle, limit, out, wrong)
	})
	if err == nil {
		err = read(document, &summary)
	}
	summary.Raw = document
	return summary, err
}

// Doctor says what would hurt a failover of one service, why, and what mends it: what `failover doctor` does. "" is the one service that there
// is. Errors: as for CheckAll; ErrInvalidArgument for an unknown service, and for "" where there are several.
func (e *Engine) Doctor(ctx context.Context, service string) (DoctorReport, error) {
	c := e.inner()
	var report DoctorReport
	if strings.ContainsRune(service, 0) {
		return report, &Error{Code: ErrInvalidArgument, Message: "the name of the service has a NUL character in it"}
	}
	document, err := c.report(ctx, func(handle *C.failover_engine, limit C.uint32_t, out **C.failover_report, wrong **C.failover_error) C.int32_t {
		name, free := cstring(service, true)
		defer free()
		return C.failover_engine_doctor(handle, name, limit, out, wrong)
	})
	if err == nil {
		err = read(document, &report)
	}
	report.Raw = document
	return report, err
}

// SwitchoverPreflight says everything that is looked at before a switchover of service to the standby to, or for "" to the best one: what
// `failover switchover --dry-run` does. It changes nothing. Errors: as for Confirm.
func (e *Engine) SwitchoverPreflight(service, to string) (Preflight, error) {
	c := e.inner()
	var preflight Preflight
	if strings.ContainsRune(to, 0) {
		return preflight, &Error{Code: ErrInvalidArgument, Message: "the name of the server has a NUL character in it"}
	}
	standby, free := cstring(to, true)
	defer free()
	var report *C.failover_report
	err := c.about(service, func(handle *C.failover_engine, service *C.char, wrong **C.failover_error) C.int32_t {
		return C.failover_engine_switchover_preflight(handle, service, standby, &report, wrong)
	}, false)
	document := taken(report)
	if err == nil {
		err = read(document, &preflight)
	}
	preflight.Raw = document
	preflight.Ready = err == nil
	for _, line := range preflight.Lines {
		preflight.Ready = preflight.Ready && line.Level != "refused"
	}
	return preflight, err
}

// Survived says whether a commit whose answer nobody received survived the last failovers: what `failover survived` does. It changes nothing, and
// blocks up to 5 s where the primary does not answer. Errors: ErrInvalidArgument for an unknown service, one that is no database, and a Commit
// that names none; ErrState when the engine was never started; ErrReentrant on a thread of the engine.
func (e *Engine) Survived(service string, commit Commit) (Survived, error) {
	c := e.inner()
	var survived Survived
	if (commit.Xid == 0) == (commit.LSN == "") || strings.ContainsRune(commit.LSN, 0) {
		return survived, &Error{Code: ErrInvalidArgument, Message: "a Commit has either Xid, or LSN and Timeline"}
	}
	lsn, free := cstring(commit.LSN, true)
	defer free()
	var report *C.failover_report
	err := c.about(service, func(handle *C.failover_engine, service *C.char, wrong **C.failover_error) C.int32_t {
		if commit.LSN == "" {
			return C.failover_engine_survived_xid(handle, service, C.uint64_t(commit.Xid), C.uint32_t(commit.Timeline), &report, wrong)
		}
		return C.failover_engine_survived_lsn(handle, service, lsn, C.uint32_t(commit.Timeline), &report, wrong)
	}, false)
	document := taken(report)
	if err == nil {
		err = read(document, &survived)
	}
	survived.Raw = document
	return survived, err
}

// Config is the configuration in force, that of the last reload, as JSON with every default filled in. Secrets are masked, or named by where
// they are found. It does not block.
func (e *Engine) Config() (json.RawMessage, error) {
	c := e.inner()
	var report *C.failover_report
	err := c.call(func(handle *C.failover_engine, wrong **C.failover_error) C.int32_t {
		return C.failover_engine_config(handle, &report, wrong)
	})
	return taken(report), err
}

// report asks on a goroutine of its own, which a cancelled context leaves behind: the library's call ends by its own limit.
func (c *core) report(ctx context.Context, ask func(*C.failover_engine, C.uint32_t, **C.failover_report, **C.failover_error) C.int32_t) ([]byte, error) {
	if c == nil {
		return nil, errNone
	}
	if ctx == nil {
		return nil, errNoContext
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	limit := reportPatience
	if end, limited := ctx.Deadline(); limited {
		limit = max(0, time.Until(end))
	}
	// Below FAILOVER_FOREVER.
	millis := C.uint32_t(min(limit.Milliseconds(), 1<<31))
	type answer struct {
		document []byte
		err      error
	}
	answers := make(chan answer, 1)
	go func() {
		var report *C.failover_report
		err := c.call(func(handle *C.failover_engine, wrong **C.failover_error) C.int32_t {
			return ask(handle, millis, &report, wrong)
		})
		answers <- answer{taken(report), err}
	}()
	select {
	case answer := <-answers:
		if errors.Is(answer.err, ErrTimeout) && ctx.Err() != nil {
			return nil, errors.Join(answer.err, ctx.Err())
		}
		return answer.document, answer.err
	case <-ctx.Done():
		if errors.Is(ctx.Err(), context.DeadlineExceeded) {
			late := &Error{Code: ErrTimeout, Message: "not every server, host and route has answered in time", Retriable: true}
			return nil, errors.Join(late, ctx.Err())
		}
		return nil, ctx.Err()
	}
}

// taken is the text of a report, which is freed; nil for none.
func taken(report *C.failover_report) []byte {
	if report == nil {
		return nil
	}
	defer C.failover_report_free(report)
	return []byte(C.GoString(C.failover_report_json(report)))
}

func read(document []byte, into any) error {
	if err := json.Unmarshal(document, into); err != nil {
		return fmt.Errorf("failover: the report could not be read: %w", err)
	}
	return nil
}

// Validate says everything that is wrong with a configuration (as of New), and what it is warned of: what `failover validate` says. A
// configuration with mistakes is no error: Valid is false then. Errors: ErrInvalidArgument, ErrUnsupported.
func Validate(config any) (Validation, error) {
	return validated(fromText(config, func(text *C.char, length C.size_t, out **C.failover_report, wrong **C.failover_error) C.int32_t {
		return C.failover_config_validate(text, length, out, wrong)
	}))
}

// ValidateFile is Validate of a file in TOML or JSON. One that cannot be read is a mistake in the report.
func ValidateFile(path string) (Validation, error) {
	return validated(fromPath(path, func(text *C.char, out **C.failover_report, wrong **C.failover_error) C.int32_t {
		return C.failover_config_validate_from_file(text, out, wrong)
	}))
}

func validated(document []byte, err error) (Validation, error) {
	validation := Validation{Raw: document}
	if err == nil {
		err = read(document, &validation)
	}
	return validation, err
}

// EffectiveConfig is a configuration (as of New) with every default filled in, as Engine.Config has that of an engine. Errors: ErrConfig.
func EffectiveConfig(config any) (json.RawMessage, error) {
	return fromText(config, func(text *C.char, length C.size_t, out **C.failover_report, wrong **C.failover_error) C.int32_t {
		return C.failover_config_effective(text, length, out, wrong)
	})
}

// EffectiveConfigFromFile is EffectiveConfig of a file in TOML or JSON. Errors: ErrConfig, also when it cannot be read.
func EffectiveConfigFromFile(path string) (json.RawMessage, error) {
	return fromPath(path, func(text *C.char, out **C.failover_report, wrong **C.failover_error) C.int32_t {
		return C.failover_config_effective_from_file(text, out, wrong)
	})
}

// Replay replays the record of a decision, a file from evidence/ of an engine's state_dir: what `failover replay` does.
//
// Errors: ErrInvalidArgument when it cannot be read, or is no record that this version understands.
func Replay(path string) (ReplayReport, error) {
	document, err := fromPath(path, func(text *C.char, out **C.failover_report, wrong **C.failover_error) C.int32_t {
		return C.failover_replay(text, out, wrong)
	})
	report := ReplayReport{Raw: document}
	if err == nil {
		err = read(document, &report)
	}
	return report, err
}

func fromText(config any, call func(*C.char, C.size_t, **C.failover_report, **C.failover_error) C.int32_t) ([]byte, error) {
	if err := compatible(); err != nil {
		return nil, err
	}
	document, err := documentOf(config)
	if err != nil {
		return nil, err
	}
	text := C.CBytes(document)
	defer C.free(text)
	var report *C.failover_report
	var wrong *C.failover_error
	err = failed(call((*C.char)(text), C.size_t(len(document)), &report, &wrong), wrong)
	return taken(report), err
}

func fromPath(path string, call func(*C.char, **C.failover_report, **C.failover_error) C.int32_t) ([]byte, error) {
	if err := compatible(); err != nil {
		return nil, err
	}
	if strings.ContainsRune(path, 0) {
		return nil, &Error{Code: ErrInvalidArgument, Message: "the path has a NUL character in it"}
	}
	text, free := cstring(path, false)
	defer free()
	var report *C.failover_report
	var wrong *C.failover_error
	err := failed(call(text, &report, &wrong), wrong)
	return taken(report), err
}
