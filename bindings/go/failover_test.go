package failover

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"
)

// How long anything that has to happen is waited for.
const long = 60 * time.Second

var up = map[string]any{"kind": "scripted", "answers": []string{"up"}}

// config is one application server with one check, "page", that is asked every 50 ms.
func config(t testing.TB, check map[string]any) map[string]any {
	t.Helper()
	state := filepath.Join(t.TempDir(), "state")
	if err := os.Mkdir(state, 0o700); err != nil {
		t.Fatal(err)
	}
	page := map[string]any{"name": "page", "server": "web1", "interval": "50ms", "fast_interval": "20ms"}
	for key, value := range check {
		page[key] = value
	}
	return map[string]any{
		"version": 1, "state_dir": state,
		"services": []any{map[string]any{
			"name": "site", "kind": "application",
			"servers": []any{map[string]any{"name": "web1", "role": "primary", "host": "127.0.0.1"}},
			"checks":  []any{page},
		}},
	}
}

func quiet() Option {
	return WithLogger(slog.New(slog.NewTextHandler(new(safeBuffer), nil)))
}

func create(t testing.TB, check map[string]any, options ...Option) *Engine {
	t.Helper()
	engine, err := New(config(t, check), append([]Option{quiet()}, options...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := engine.Close(); err != nil {
			t.Error(err)
		}
	})
	return engine
}

func start(t testing.TB, engine *Engine) {
	t.Helper()
	if err := engine.Start(context.Background()); err != nil {
		t.Fatal(err)
	}
}

// forced is what an order is answered with.
func forced(engine *Engine, options ForceOptions) error {
	_, err := engine.Force("site", options)
	return err
}

func await(t testing.TB, engine *Engine, what string, wanted func(Event) bool) Event {
	t.Helper()
	patience := time.After(long)
	for {
		select {
		case event, open := <-engine.Events():
			if !open {
				t.Fatalf("the engine stopped before %s", what)
			}
			if wanted(event) {
				return event
			}
		case <-patience:
			t.Fatalf("no %s came", what)
		}
	}
}

func kind(wanted Kind) func(Event) bool {
	return func(event Event) bool { return event.Kind == wanted }
}

type safeBuffer struct {
	lock sync.Mutex
	text bytes.Buffer
}

func (b *safeBuffer) Write(text []byte) (int, error) {
	b.lock.Lock()
	defer b.lock.Unlock()
	return b.text.Write(text)
}

func (b *safeBuffer) String() string {
	b.lock.Lock()
	defer b.lock.Unlock()
	return b.text.String()
}

func TestTheEventsAreThoseOfEveryLanguage(t *testing.T) {
	text, err := os.ReadFile("../../tests/bindings/scenario.json")
	if err != nil {
		t.Fatal(err)
	}
	state := filepath.Join(t.TempDir(), "state")
	if err := os.Mkdir(state, 0o700); err != nil {
		t.Fatal(err)
	}
	var scenario struct {
		Config          json.RawMessage
		Kinds, Expected []string
	}
	if err := json.Unmarshal(bytes.ReplaceAll(text, []byte("@STATE@"), []byte(state)), &scenario); err != nil {
		t.Fatal(err)
	}
	kinds := map[Kind]bool{}
	for _, kind := range scenario.Kinds {
		kinds[Kind(kind)] = true
	}
	engine, err := New([]byte(scenario.Config), quiet())
	if err != nil {
		t.Fatal(err)
	}
	defer engine.Close()
	start(t, engine)
	none := func(name string) string {
		if name == "" {
			return "-"
		}
		return name
	}
	var lines []string
	for event := range engine.Events() {
		if !kinds[event.Kind] {
			continue
		}
		lines = append(lines, fmt.Sprintf("%s %s %s %s", event.Kind, none(event.Service), none(event.Server), event.Message))
		// The last line is the stop itself.
		if len(lines) == len(scenario.Expected)-1 {
			engine.RequestStop()
		}
	}
	if got, want := strings.Join(lines, "\n"), strings.Join(scenario.Expected, "\n"); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestAConfigurationTellsEveryMistake(t *testing.T) {
	_, err := New(`{"version": 1, "servces": []}`)
	var wrong *Error
	if !errors.Is(err, ErrConfig) || errors.Is(err, ErrState) || !errors.As(err, &wrong) {
		t.Fatalf("%v", err)
	}
	paths := map[string]bool{}
	for _, mistake := range wrong.Mistakes {
		paths[mistake.Path] = true
		if mistake.Reason == "" || mistake.Remedy == "" {
			t.Errorf("%+v", mistake)
		}
	}
	if !paths["/servces"] || !paths["/services"] || wrong.Path == "" || wrong.Message == "" || wrong.Retriable {
		t.Errorf("%+v", wrong)
	}
}

func TestBadArgumentsAreErrors(t *testing.T) {
	for _, config := range []any{"", "{", []byte{0xff, 0xfe}, strings.Repeat("[", 100_000), nil} {
		if engine, err := New(config); err == nil {
			engine.Close()
			t.Errorf("%.20q made an engine", config)
		}
	}
	if _, err := New(func() {}); err == nil {
		t.Error("a function is no configuration")
	}
	if _, err := NewFromFile("/nowhere/failover.toml"); !errors.Is(err, ErrConfig) {
		t.Error(err)
	}
	if _, err := NewFromFile("a\x00b"); !errors.Is(err, ErrInvalidArgument) {
		t.Error(err)
	}
	engine := create(t, up)
	start(t, engine)
	for what, err := range map[string]error{
		"unknown service": engine.Confirm("nobody"),
		"NUL":             engine.Confirm("si\x00te"),
		"no UTF-8":        engine.Reset("\xff"),
		"empty":           engine.Confirm(""),
		"unknown server":  forced(engine, ForceOptions{To: "nobody"}),
		"adopt nobody":    engine.Adopt("site", "nobody"),
		"adopt nowhere":   engine.Adopt("nobody", "web1"),
		"adopt NUL":       engine.Adopt("site", "we\x00b1"),
		"outcome":         engine.ReportOutcome("site", "", Outcome(99)),
		"step":            engine.OfferAction("dance"),
	} {
		if !errors.Is(err, ErrInvalidArgument) && !(what == "step" && errors.Is(err, ErrState)) {
			t.Errorf("%s: %v", what, err)
		}
	}
	if err := engine.CompleteTask(4711, Up("")); !errors.Is(err, ErrUnknownTask) {
		t.Error(err)
	}
	if err := engine.Confirm("site"); !errors.Is(err, ErrRejected) {
		t.Error(err)
	}
}

func TestStatusIsTyped(t *testing.T) {
	engine := create(t, up)
	start(t, engine)
	await(t, engine, "health", kind(HealthChanged))
	status, err := engine.Status()
	if err != nil {
		t.Fatal(err)
	}
	service := status.Service("site")
	if status.Engine != "running" || service == nil || service.Primary != "web1" || service.Health() != "healthy" || service.State != "normal" {
		t.Fatalf("%+v", status.Services)
	}
	server := service.Server("web1")
	if one, err := engine.StatusOf("site"); err != nil || len(one.Services) != 1 {
		t.Fatalf("%v %+v", err, one.Services)
	}
	if _, err := engine.StatusOf("nobody"); !errors.Is(err, ErrInvalidArgument) {
		t.Error(err)
	}
	text, err := engine.MetricsText("", false)
	if err != nil || !strings.Contains(text, `failover_checks_total{service="site"`) || strings.Contains(text, "failover_check_answers_total") {
		t.Errorf("%v %s", err, text)
	}
	if text, err = engine.MetricsText("site", true); err != nil || !strings.Contains(text, "failover_check_answers_total") {
		t.Errorf("%v %s", err, text)
	}
	if server == nil || len(server.Checks) != 1 || server.Checks[0].Verdict != "up" || status.Version != Version() || len(status.Raw) == 0 {
		t.Fatalf("%+v", service)
	}
	if service.Forecast.WouldFailOver || service.Forecast.Message == "" || status.Service("nobody") != nil || service.Server("nobody") != nil {
		t.Errorf("%+v", service.Forecast)
	}
}

func TestAnEngineStartsOnce(t *testing.T) {
	engine := create(t, up)
	start(t, engine)
	if err := engine.Start(context.Background()); !errors.Is(err, ErrState) {
		t.Error(err)
	}
	for range 2 {
		if err := engine.Stop(context.Background()); err != nil {
			t.Error(err)
		}
	}
	var last Event
	for event := range engine.Events() {
		last = event
	}
	if last.Kind != EngineStopped {
		t.Errorf("%+v", last)
	}
	for range 2 {
		if err := engine.Close(); err != nil {
			t.Error(err)
		}
	}
	if _, err := engine.Status(); !errors.Is(err, ErrState) {
		t.Error(err)
	}
	engine.RequestStop()
}

func TestContextsEndStartAndStop(t *testing.T) {
	engine := create(t, map[string]any{"kind": "host", "timeout": "10m"})
	if err := engine.OfferCheck("page"); err != nil {
		t.Fatal(err)
	}
	cancelled, cancel := context.WithCancel(context.Background())
	cancel()
	if err := engine.Start(cancelled); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	start(t, engine)
	await(t, engine, "health or task", kind(TaskCheck))
	err := engine.Stop(cancelled)
	if err != nil && !(errors.Is(err, ErrTimeout) && errors.Is(err, context.Canceled)) {
		t.Error(err)
	}
}

func TestTwoEnginesShareNoStateDirectory(t *testing.T) {
	shared := config(t, up)
	first, err := New(shared, quiet())
	if err != nil {
		t.Fatal(err)
	}
	defer first.Close()
	start(t, first)
	second, err := New(shared, quiet())
	if err != nil {
		t.Fatal(err)
	}
	defer second.Close()
	var wrong *Error
	if err := second.Start(context.Background()); !errors.As(err, &wrong) || wrong.Code != ErrState || !wrong.Retriable {
		t.Fatalf("%v", err)
	}
	other := create(t, up)
	start(t, other)
	await(t, other, "health", kind(HealthChanged))
	await(t, first, "health", kind(HealthChanged))
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	if err := second.Start(context.Background()); err != nil {
		t.Fatal(err)
	}
}

func TestChecksAreGoFunctions(t *testing.T) {
	var buffer safeBuffer
	engine := create(t, map[string]any{"kind": "host", "timeout": "200ms"}, WithLogger(slog.New(slog.NewTextHandler(&buffer, nil))))
	if err := engine.Check("nothing", func(context.Context, Task) Answer { return Up("") }); !errors.Is(err, ErrInvalidArgument) {
		t.Error(err)
	}
	var lock sync.Mutex
	asked := 0
	released := make(chan struct{})
	err := engine.Check("page", func(ctx context.Context, task Task) Answer {
		lock.Lock()
		asked++
		number := asked
		lock.Unlock()
		if task.Service != "site" || task.Server != "web1" || task.Name != "page" || task.ID == 0 || time.Until(task.Deadline) > time.Second {
			return Down(fmt.Sprintf("%+v", task))
		}
		switch number {
		case 1:
			panic("at the first")
		case 2:
			// Past its deadline, and further.
			<-ctx.Done()
			<-released
		case 3:
			return Down("the third")
		}
		return Up("it serves")
	})
	if err != nil {
		t.Fatal(err)
	}
	start(t, engine)
	observed := func(words string) func(Event) bool {
		return func(event Event) bool { return event.Kind == Observed && strings.Contains(event.Message, words) }
	}
	await(t, engine, "the panic", observed("panic: at the first"))
	await(t, engine, "a time-out", func(event Event) bool {
		return observed("no answer")(event) && event.Fields["verdict"] == "unknown"
	})
	await(t, engine, "a busy function", observed("has not returned"))
	close(released)
	await(t, engine, "the third answer", observed("the third"))
	await(t, engine, "health", func(event Event) bool {
		return event.Kind == HealthChanged && strings.Contains(event.Message, "it serves")
	})
	if err := engine.Stop(context.Background()); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(buffer.String(), "panicked") {
		t.Error(buffer.String())
	}
}

func TestChecksThatNobodyAnswersAreRefused(t *testing.T) {
	page := func(context.Context, Task) Answer { return Up("a late one") }
	document, err := json.Marshal(config(t, map[string]any{"kind": "host"}))
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "failover.json")
	if err := os.WriteFile(file, document, 0o600); err != nil {
		t.Fatal(err)
	}
	engine, err := NewFromFile(file, quiet())
	if err != nil {
		t.Fatal(err)
	}
	defer engine.Close()
	if status, err := engine.Status(); err != nil || len(status.HostFunctions) != 1 || status.HostFunctions[0] != (HostFunction{Name: "page"}) {
		t.Error(err, status.HostFunctions)
	}
	if err := engine.Check("pgae", page); !errors.Is(err, ErrInvalidArgument) {
		t.Error(err)
	}
	if err := engine.Start(context.Background()); !errors.Is(err, ErrInvalidArgument) {
		t.Error(err)
	}

	before := config(t, up)
	other, err := New(before, quiet())
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	start(t, other)
	after := config(t, map[string]any{"kind": "host"})
	after["state_dir"] = before["state_dir"]
	if document, err = json.Marshal(after); err != nil {
		t.Fatal(err)
	}
	if err := other.Reload(document); !errors.Is(err, ErrInvalidArgument) {
		t.Error(err)
	}
	if err := other.Check("page", page); err != nil {
		t.Error(err)
	}
	if err := other.Reload(document); err != nil {
		t.Error(err)
	}
	await(t, other, "the answer", func(event Event) bool { return strings.Contains(event.Message, "a late one") })
}

func TestWhatNewDidNotMakeHarmsNobody(t *testing.T) {
	var none *Engine
	if err := none.Close(); err != nil {
		t.Error(err)
	}
	ctx := context.Background()
	for what, zero := range map[string]*Engine{"nil": nil, "the zero value": {}} {
		_, status := zero.Status()
		_, one := zero.StatusOf("orders")
		_, metrics := zero.MetricsText("", false)
		_, force := zero.Force("orders", ForceOptions{})
		_, switchover := zero.Switchover("orders", SwitchoverOptions{})
		_, preflight := zero.SwitchoverPreflight("orders", "")
		_, survived := zero.Survived("orders", Commit{Xid: 742})
		_, summary := zero.CheckAll(ctx)
		_, doctor := zero.Doctor(ctx, "orders")
		_, effective := zero.Config()
		for name, err := range map[string]error{
			"Start": zero.Start(ctx), "Stop": zero.Stop(ctx), "Status": status, "MetricsText": metrics, "Force": force, "Switchover": switchover, "SwitchoverPreflight": preflight, "SwitchoverCancel": zero.SwitchoverCancel("orders"),
			"Survived": survived, "CheckAll": summary, "Doctor": doctor, "Config": effective,
			"Confirm": zero.Confirm("orders"), "Pause": zero.Pause(""), "Reload": zero.Reload([]byte("{}")), "ReloadFromFile": zero.ReloadFromFile("x.toml"),
			"ConfirmAll": zero.ConfirmAll(), "PauseWith": zero.PauseWith("", PauseOptions{Reason: "x"}), "Resume": zero.Resume(""), "Reset": zero.Reset("orders"),
			"Adopt": zero.Adopt("orders", "db1"), "Cordon": zero.Cordon("orders", "db1"), "Uncordon": zero.Uncordon("orders", "db1"), "Rejoin": zero.Rejoin("orders", "db1", RejoinOptions{}), "Clone": zero.Clone("orders", "db1", CloneOptions{}),
			"OfferAction": zero.OfferAction("fence"), "StatusOf": one,
			"Check":        zero.Check("page", func(context.Context, Task) Answer { return Up("") }),
			"CompleteTask": zero.CompleteTask(1, Up("")), "ReportOutcome": zero.ReportOutcome("orders", "db1", OutcomeOK),
		} {
			if !errors.Is(err, ErrState) {
				t.Errorf("%s of %s: %v", name, what, err)
			}
		}
		zero.RequestStop()
		if event, open := <-zero.Events(); open {
			t.Error(what, event)
		}
		if err := zero.Close(); err != nil {
			t.Error(what, err)
		}
	}
	for what, breaker := range map[string]*Breaker{"nil": nil, "the zero value": {}} {
		if _, err := breaker.Permit(); err == nil {
			t.Error("a breaker that nobody made permits:", what)
		}
		if err := breaker.Do(func() error { return nil }); err == nil || breaker.State() != 0 {
			t.Error("a breaker that nobody made works:", what)
		}
		breaker.Reset()
		breaker.Close()
	}
	var summary *CheckSummary
	if summary.Passed() {
		t.Error("no summary passed")
	}
}

func TestNumbersOfEventsAreThoseOfGo(t *testing.T) {
	large := json.Number("18446744073709551615")
	for want, value := range map[any]any{
		int64(9007199254740993): json.Number("9007199254740993"), uint64(18446744073709551615): large, 0.25: json.Number("0.25"),
		float64(3): json.Number("3.0"), "text": "text", true: true,
	} {
		if got := plain(value); got != want {
			t.Errorf("%v: %v (%T)", value, got, got)
		}
	}
	nested := plain([]any{map[string]any{"count": json.Number("7")}})
	if nested.([]any)[0].(map[string]any)["count"] != int64(7) {
		t.Error(nested)
	}
}

func TestTasksCanBeAnsweredByHand(t *testing.T) {
	engine := create(t, map[string]any{"kind": "host"})
	if err := engine.OfferCheck("page"); err != nil {
		t.Fatal(err)
	}
	start(t, engine)
	event := await(t, engine, "a task", kind(TaskCheck))
	task := uint64(event.Fields["task_id"].(int64))
	if err := engine.CompleteTask(task, Up("by hand")); err != nil {
		t.Fatal(err)
	}
	if err := engine.CompleteTask(task, Up("again")); !errors.Is(err, ErrUnknownTask) {
		t.Error(err)
	}
	await(t, engine, "the answer", func(event Event) bool { return strings.Contains(event.Message, "by hand") })
}

func TestCommandsReachTheEngine(t *testing.T) {
	engine := create(t, up)
	if err := engine.Pause("site"); !errors.Is(err, ErrState) {
		t.Error(err)
	}
	start(t, engine)
	for _, service := range []string{"site", ""} {
		if err := engine.Pause(service); err != nil {
			t.Error(err)
		}
		if status, err := engine.Status(); err != nil || !status.Services[0].Paused {
			t.Error(err, status.Services)
		}
		if err := engine.Resume(service); err != nil {
			t.Error(err)
		}
	}
	if err := engine.PauseWith("", PauseOptions{Reason: "a disk is swapped", For: time.Hour}); err != nil {
		t.Error(err)
	}
	status, err := engine.Status()
	if err != nil {
		t.Fatal(err)
	}
	if pause := status.Services[0].Pause; pause == nil || pause.Reason != "a disk is swapped" || pause.LeftMs == nil || *pause.LeftMs > 3600000 {
		t.Errorf("%+v", pause)
	}
	if err := engine.PauseWith("site", PauseOptions{For: time.Millisecond}); err != nil {
		t.Error(err)
	}
	for status.Services[0].Paused {
		await(t, engine, "an observation", kind(Observed))
		if status, err = engine.Status(); err != nil {
			t.Fatal(err)
		}
	}
	for _, wrong := range []PauseOptions{{Reason: "two\nlines"}, {For: -1}, {For: 31 * 24 * time.Hour}} {
		if err := engine.PauseWith("site", wrong); !errors.Is(err, ErrInvalidArgument) {
			t.Error(err)
		}
	}
	if err := engine.ReportOutcome("site", "", OutcomeOK); err != nil {
		t.Error(err)
	}
	if err := engine.ReportOutcome("site", "web1", OutcomeTimeout); err != nil {
		t.Error(err)
	}
	if err := forced(engine, ForceOptions{}); !errors.Is(err, ErrRejected) {
		t.Error(err)
	}
	if err := engine.Uncordon("site", "web1"); !errors.Is(err, ErrRejected) {
		t.Error(err)
	}
	for _, server := range []string{"nobody", "a\x00b"} {
		if err := engine.Cordon("site", server); !errors.Is(err, ErrInvalidArgument) {
			t.Error(err)
		}
	}
	if err := engine.Rejoin("site", "web1", RejoinOptions{DryRun: true, Rebuild: true}); !errors.Is(err, ErrRejected) {
		t.Errorf("rebuild of a server that runs: %v", err)
	}
	if err := engine.Clone("site", "web1", CloneOptions{DryRun: true}); !errors.Is(err, ErrRejected) {
		t.Errorf("clone of a server that runs: %v", err)
	}
	if err := engine.Rejoin("site", "web1", RejoinOptions{DryRun: true}); !errors.Is(err, ErrRejected) {
		t.Errorf("an application has nothing to be rewound: %v", err)
	}
	if err := engine.Cordon("site", "web1"); err != nil {
		t.Error(err)
	}
	if status, err := engine.Status(); err != nil || !status.Services[0].Servers[0].Cordoned {
		t.Error(err, status.Services)
	}
	if err := engine.Uncordon("site", "web1"); err != nil {
		t.Error(err)
	}
	if err := engine.ConfirmAll(); !errors.Is(err, ErrRejected) {
		t.Error(err)
	}
	// An application has no primary to adopt.
	if err := engine.Adopt("site", "web1"); !errors.Is(err, ErrRejected) {
		t.Error(err)
	}
	if err := engine.Reload([]byte("{}")); !errors.Is(err, ErrConfig) {
		t.Error(err)
	}
	toml := filepath.Join(t.TempDir(), "failover.toml")
	if err := os.WriteFile(toml, []byte("version = 1\nversion = 2\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := engine.ReloadFromFile(toml); !errors.Is(err, ErrConfig) || !strings.Contains(err.Error(), "line 2") {
		t.Error(err)
	}
	if err := engine.ReloadFromFile("with\x00NUL"); !errors.Is(err, ErrInvalidArgument) {
		t.Error(err)
	}
	if err := engine.Action("fence", func(context.Context, Task) Answer { return Done("") }); !errors.Is(err, ErrState) {
		t.Error(err)
	}
}

func TestWhoReadsNothingLosesObservationsFirst(t *testing.T) {
	outlet := newOutlet()
	for seq := uint64(1); seq <= 5*capacity; seq++ {
		event := Event{Kind: Observed, Seq: seq}
		switch seq % 5 {
		case 0:
			event.Kind = StateChanged
		case 1:
			if seq%50 == 1 {
				event.Kind = PrimaryKnown
			}
		}
		outlet.put(event)
	}
	outlet.put(Event{Kind: EngineStopped, Seq: 5*capacity + 1})
	close(outlet.events)
	seen := map[Kind]int{}
	var last uint64
	for event := range outlet.events {
		seen[event.Kind]++
		if event.Kind != Overflow && event.Seq <= last {
			t.Fatalf("%d after %d", event.Seq, last)
		}
		last = event.Seq
	}
	// What says who is primary is all there; of the others what there was room for, and the news of what was not.
	if seen[PrimaryKnown] != 103 || seen[EngineStopped] != 1 || seen[Overflow] == 0 || seen[Observed] < capacity/2 || seen[StateChanged] < capacity/2 {
		t.Errorf("%v", seen)
	}
}

func TestTheLogOfTheLibraryGoesToSlog(t *testing.T) {
	var buffer safeBuffer
	logger := slog.New(slog.NewTextHandler(&buffer, &slog.HandlerOptions{Level: slog.LevelDebug}))
	engine := create(t, up, WithLogger(logger))
	start(t, engine)
	await(t, engine, "health", kind(HealthChanged))
	engine.core.note("a line")
	if err := engine.Stop(context.Background()); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(buffer.String(), "a line") {
		t.Error(buffer.String())
	}
}

func TestNothingIsLeftAfterManyEngines(t *testing.T) {
	folder := config(t, up)
	cycle := func() {
		engine, err := New(folder, quiet())
		if err != nil {
			t.Fatal(err)
		}
		start(t, engine)
		<-engine.Events()
		if err := engine.Stop(context.Background()); err != nil {
			t.Fatal(err)
		}
		if err := engine.Close(); err != nil {
			t.Fatal(err)
		}
	}
	for range 10 {
		cycle()
	}
	goroutines, descriptors := settled(t), count(t, "/proc/self/fd")
	for range 100 {
		cycle()
	}
	if now := settled(t); now > goroutines {
		t.Errorf("%d goroutines, %d before", now, goroutines)
	}
	if now := count(t, "/proc/self/fd"); now > descriptors {
		t.Errorf("%d descriptors, %d before", now, descriptors)
	}
	for _, name := range threads(t) {
		if strings.HasPrefix(name, "fo-") {
			t.Errorf("the thread %s is left", name)
		}
	}
}

// settled is the number of goroutines once those that are ending have ended.
func settled(t *testing.T) int {
	t.Helper()
	for range 100 {
		runtime.GC()
		runtime.Gosched()
	}
	return runtime.NumGoroutine()
}

func count(t *testing.T, folder string) int {
	t.Helper()
	entries, err := os.ReadDir(folder)
	if err != nil {
		t.Fatal(err)
	}
	return len(entries)
}

func threads(t *testing.T) []string {
	t.Helper()
	var names []string
	paths, err := filepath.Glob("/proc/self/task/*/comm")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range paths {
		// A thread may end while it is looked at.
		if name, err := os.ReadFile(path); err == nil {
			names = append(names, strings.TrimSpace(string(name)))
		}
	}
	return names
}

func TestADroppedEngineIsStopped(t *testing.T) {
	var buffer safeBuffer
	func() {
		engine, err := New(config(t, up), WithLogger(slog.New(slog.NewTextHandler(&buffer, nil))))
		if err != nil {
			t.Fatal(err)
		}
		start(t, engine)
		<-engine.Events()
	}()
	for end := time.Now().Add(long); !strings.Contains(buffer.String(), "dropped without Close"); {
		if time.Now().After(end) {
			t.Fatal("nobody noticed")
		}
		runtime.GC()
		runtime.Gosched()
	}
}

func TestStopFromManySides(t *testing.T) {
	engine := create(t, up)
	start(t, engine)
	var all sync.WaitGroup
	for range 8 {
		all.Add(3)
		go func() {
			defer all.Done()
			_, _ = engine.Status()
		}()
		go func() {
			defer all.Done()
			for range engine.Events() {
				engine.RequestStop()
			}
		}()
		go func() {
			defer all.Done()
			if err := engine.Stop(context.Background()); err != nil {
				t.Error(err)
			}
		}()
	}
	all.Wait()
}

func TestBreaker(t *testing.T) {
	breaker, err := NewBreaker(2, time.Hour, 1)
	if err != nil {
		t.Fatal(err)
	}
	defer breaker.Close()
	broken := errors.New("broken")
	for range 2 {
		if err := breaker.Do(func() error { return broken }); err != broken {
			t.Fatal(err)
		}
	}
	err = breaker.Do(func() error { t.Error("it was made"); return nil })
	var open *Error
	if !errors.As(err, &open) || open.Code != ErrRejected || open.RetryAfter <= 0 || open.RetryAfter > time.Hour || breaker.State() != BreakerOpen {
		t.Fatalf("%+v", err)
	}
	breaker.Reset()
	if err := breaker.Do(func() error { return nil }); err != nil || breaker.State() != BreakerClosed {
		t.Fatal(err)
	}
	func() {
		defer func() { _ = recover() }()
		_ = breaker.Do(func() error { panic("in the request") })
	}()
	settle, err := breaker.Permit()
	if err != nil {
		t.Fatal(err)
	}
	settle(broken)
	if breaker.State() != BreakerOpen {
		t.Error("a panic is a failure")
	}
	if _, err := NewBreaker(0, time.Second, 1); !errors.Is(err, ErrInvalidArgument) {
		t.Error(err)
	}
	if _, err := NewBreaker(1, -time.Second, 1); !errors.Is(err, ErrInvalidArgument) {
		t.Error(err)
	}
	breaker.Close()
	if breaker.State() != 0 {
		t.Error("closed for good")
	}
}

func TestCodesAndKindsAreThoseOfTheLibrary(t *testing.T) {
	if ErrRejected.String() != "rejected" || !strings.Contains(ErrRejected.Error(), "no") || Code(4711).String() != "unknown" {
		t.Errorf("%s %s", ErrRejected, ErrRejected.Error())
	}
	for index, known := 0, knownKinds(); ; index++ {
		word := kindAt(index)
		if word == "" {
			break
		}
		if !known[Kind(word)] {
			t.Errorf("%s has no name here", word)
		}
	}
	if err := compatible(); err != nil {
		t.Error(err)
	}
}

func TestAnOrderSaysWhichFailoverItBegan(t *testing.T) {
	document := config(t, up)
	site := document["services"].([]any)[0].(map[string]any)
	site["servers"] = append(site["servers"].([]any), map[string]any{"name": "web2", "host": "127.0.0.2", "port": 8002})
	page := map[string]any{"name": "page2", "server": "web2", "interval": "50ms", "kind": "scripted", "answers": []string{"up"}}
	site["checks"] = append(site["checks"].([]any), page)
	site["route"] = map[string]any{"command": []any{map[string]any{"name": "balancer", "command": []string{"/bin/true"}}}}
	engine, err := New(document, quiet())
	if err != nil {
		t.Fatal(err)
	}
	defer engine.Close()
	start(t, engine)
	await(t, engine, "a standby that is ready", func(Event) bool {
		status, err := engine.Status()
		return err == nil && status.Services[0].Forecast.WouldFailOver
	})
	if err := engine.Cordon("site", "web2"); err != nil {
		t.Fatal(err)
	}
	remedy := "failover uncordon site web2, once it may be promoted"
	if refused := await(t, engine, "a refusal", kind(StandbyNotReady)); refused.Remedy != remedy {
		t.Error(refused)
	}
	if status, err := engine.Status(); err != nil || status.Services[0].Servers[1].NotPromotable.Remedy != remedy {
		t.Error(err, status.Services)
	}
	if err := engine.Uncordon("site", "web2"); err != nil {
		t.Fatal(err)
	}
	if preflight, err := engine.SwitchoverPreflight("site", "web2"); err != nil || !preflight.Ready || len(preflight.Lines) != 2 {
		t.Error(err, preflight)
	}
	for _, wrong := range []Commit{{}, {Xid: 742}, {LSN: "0/3000148", Timeline: 1}, {LSN: "742"}, {Xid: 742, LSN: "0/3000148"}} {
		if _, err := engine.Survived("site", wrong); !errors.Is(err, ErrInvalidArgument) {
			t.Error(wrong, err)
		}
	}
	if planned, err := engine.Switchover("site", SwitchoverOptions{At: time.Now().Add(time.Hour)}); err != nil || planned != 0 {
		t.Error(planned, err)
	}
	if status, err := engine.Status(); err != nil || status.Service("site").PlannedSwitchover == nil {
		t.Error(err, status.Service("site"))
	}
	if err := engine.SwitchoverCancel("site"); err != nil {
		t.Error(err)
	}
	if err := engine.SwitchoverCancel("site"); !errors.Is(err, ErrRejected) {
		t.Error(err)
	}
	if _, err := engine.Switchover("site", SwitchoverOptions{At: time.Now().Add(-time.Hour)}); !errors.Is(err, ErrInvalidArgument) {
		t.Error(err)
	}
	generation, err := engine.Switchover("site", SwitchoverOptions{To: "web2"})
	if err != nil || generation != 1 {
		t.Fatal(generation, err)
	}
	done := await(t, engine, "its end", kind(FailoverCompleted))
	if done.Generation != generation || done.Server != "web2" || done.Host != "127.0.0.2" || done.Port != 8002 {
		t.Error(done)
	}
	status, err := engine.Status()
	if err != nil {
		t.Fatal(err)
	}
	if web2 := status.Service("site").Server("web2"); web2.Host != "127.0.0.2" || web2.Port != 8002 {
		t.Error(web2)
	}
	if err := engine.Stop(context.Background()); err != nil {
		t.Fatal(err)
	}
	records, err := filepath.Glob(filepath.Join(document["state_dir"].(string), "evidence", "*.json"))
	if err != nil || len(records) != 1 {
		t.Fatal(records, err)
	}
	if report, err := Replay(records[0]); err != nil || !report.Same || report.Service != "site" || report.Kind != "failover" {
		t.Error(report, err)
	}
	if _, err := Replay("/nowhere.json"); !errors.Is(err, ErrInvalidArgument) {
		t.Error(err)
	}
}

// What is not there is not called: the first wrong name would end the program.
func TestNilLoggersOptionsAndAnswersArePassedOver(t *testing.T) {
	engine := create(t, up, WithLogger(nil), nil)
	if engine.inner().logger == nil {
		t.Fatal("no logger is left to write to")
	}
	var status *Status
	if server := status.Service("typo").Server("web1"); server != nil {
		t.Fatalf("%v", server)
	}
	if health := status.Service("typo").Health(); health != "unknown" {
		t.Fatal(health)
	}
}

// A nil context is an error that says so, and no panic.
func TestANilContextIsAnError(t *testing.T) {
	engine := create(t, up)
	var none context.Context
	_, check := engine.CheckAll(none)
	_, doctor := engine.Doctor(none, "site")
	for name, err := range map[string]error{"Start": engine.Start(none), "CheckAll": check, "Doctor": doctor, "Stop": engine.Stop(none)} {
		if !errors.Is(err, ErrInvalidArgument) || !strings.Contains(err.Error(), "context is nil") {
			t.Errorf("%s: %v", name, err)
		}
	}
}
