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
	"log/slog"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// How long one call waits inside the library: how late a cancelled context is noticed.
const slice = 100 * time.Millisecond

// How long Stop waits for functions of the program that have not returned when the engine has stopped.
const grace = time.Second

// How long Close waits for the stop.
const patience = 30 * time.Second

// Engine watches servers and fails them over. Make one with New or NewFromFile, and Close it. Every method may be called from any
// goroutine, also at once.
type Engine struct {
	core *core
}

// core is what the goroutines of an engine hold, so that an Engine that nobody holds any more can be noticed.
type core struct {
	// Held for reading while the library is called with the handle, for writing while that is freed.
	lock   sync.RWMutex
	handle *C.failover_engine

	logger  *slog.Logger
	outlet  outlet
	records chan Event
	checks  map[string]TaskFunc
	actions map[string]TaskFunc
	// Held while one of the two is looked at or changed.
	registered sync.RWMutex

	setting    sync.Mutex
	started    bool
	startOnce  sync.Once
	closeOnce  sync.Once
	closed     error
	life       context.Context
	end        context.CancelFunc
	threads    sync.WaitGroup
	functions  sync.WaitGroup
	busy       sync.Map
	unanswered sync.Map
	unwritten  atomic.Uint64
}

// Option changes how an engine is made.
type Option func(*core)

// WithLogger has the library's log lines, and what goes wrong in functions of the program, go to logger instead of slog.Default().
// Each record has the attributes service and server where it is about one. nil stands for slog.Default().
func WithLogger(logger *slog.Logger) Option {
	return func(c *core) {
		if logger != nil {
			c.logger = logger
		}
	}
}

// New makes an engine from a configuration: a string or []byte in JSON, or anything that encoding/json makes one of. Nothing runs yet.
// Events are kept from here on.
//
// Errors: ErrConfig (Error.Mistakes has everything at once), ErrInvalidArgument, ErrSystem, ErrUnsupported.
func New(config any, options ...Option) (*Engine, error) {
	document, err := documentOf(config)
	if err != nil {
		return nil, err
	}
	return assemble(func(handle **C.failover_engine, wrong **C.failover_error) C.int32_t {
		text := C.CBytes(document)
		defer C.free(text)
		return C.failover_engine_new((*C.char)(text), C.size_t(len(document)), handle, wrong)
	}, options)
}

// documentOf is a configuration as JSON.
func documentOf(config any) ([]byte, error) {
	switch config := config.(type) {
	case string:
		return []byte(config), nil
	case []byte:
		return config, nil
	}
	document, err := json.Marshal(config)
	if err != nil {
		return nil, fmt.Errorf("failover: the configuration cannot be written as JSON: %w", err)
	}
	return document, nil
}

// NewFromFile makes an engine from a file in TOML or JSON: what `failover run` reads. Errors: as for New.
func NewFromFile(path string, options ...Option) (*Engine, error) {
	if strings.ContainsRune(path, 0) {
		return nil, &Error{Code: ErrInvalidArgument, Message: "the path has a NUL character in it"}
	}
	return assemble(func(handle **C.failover_engine, wrong **C.failover_error) C.int32_t {
		text, free := cstring(path, false)
		defer free()
		return C.failover_engine_new_from_file(text, handle, wrong)
	}, options)
}

func assemble(call func(**C.failover_engine, **C.failover_error) C.int32_t, options []Option) (*Engine, error) {
	if err := compatible(); err != nil {
		return nil, err
	}
	c := &core{
		outlet:  newOutlet(),
		records: make(chan Event, capacity),
		checks:  map[string]TaskFunc{},
		actions: map[string]TaskFunc{},
		logger:  slog.Default(),
	}
	var handle *C.failover_engine
	var wrong *C.failover_error
	code := call(&handle, &wrong)
	if err := failed(code, wrong); err != nil {
		return nil, err
	}
	c.handle = handle
	c.life, c.end = context.WithCancel(context.Background())
	for _, option := range options {
		if option != nil {
			option(c)
		}
	}
	engine := &Engine{core: c}
	runtime.SetFinalizer(engine, func(engine *Engine) {
		// Not on the finalizer's goroutine, which everybody shares.
		go func(c *core) {
			c.logger.Warn("an engine was dropped without Close; it is stopped now")
			_ = c.close()
		}(engine.core)
	})
	return engine, nil
}

// inner is what is behind an Engine: nil for nil and for the zero value.
func (e *Engine) inner() *core {
	if e == nil {
		return nil
	}
	return e.core
}

// errNoContext is for a context that is nil: nobody could end the wait.
var errNoContext = &Error{Code: ErrInvalidArgument, Message: "the context is nil: pass context.Background() or one with a deadline"}

// errNone is for nil and for the zero value of an Engine: there is nothing behind them.
var errNone = &Error{Code: ErrState, Message: "this Engine was not made by New or NewFromFile"}

// call calls the library with the handle, which is not freed meanwhile.
func (c *core) call(function func(handle *C.failover_engine, wrong **C.failover_error) C.int32_t) error {
	if c == nil {
		return errNone
	}
	c.lock.RLock()
	defer c.lock.RUnlock()
	if c.handle == nil {
		return &Error{Code: ErrState, Message: "the engine is closed: make another one"}
	}
	var wrong *C.failover_error
	code := function(c.handle, &wrong)
	return failed(code, wrong)
}

// about calls a command that names a service; none, where that may be, is all of them.
func (c *core) about(service string, command func(*C.failover_engine, *C.char, **C.failover_error) C.int32_t, all bool) error {
	if strings.ContainsRune(service, 0) {
		return &Error{Code: ErrInvalidArgument, Message: "the name of the service has a NUL character in it"}
	}
	text, free := cstring(service, all)
	defer free()
	return c.call(func(handle *C.failover_engine, wrong **C.failover_error) C.int32_t {
		return command(handle, text, wrong)
	})
}

// aboutServer calls a command that names a server of a service.
func (c *core) aboutServer(service, server string, command func(*C.failover_engine, *C.char, *C.char, **C.failover_error) C.int32_t) error {
	if strings.ContainsRune(server, 0) {
		return &Error{Code: ErrInvalidArgument, Message: "the name of the server has a NUL character in it"}
	}
	name, free := cstring(server, false)
	defer free()
	return c.about(service, func(handle *C.failover_engine, service *C.char, wrong **C.failover_error) C.int32_t {
		return command(handle, service, name, wrong)
	}, false)
}

// Check has checks of kind "host" called name (their "function", or their own name) answered by function. Only Down counts as a failure;
// no answer by the deadline is unknown. Every name that checks ask for has to be registered or offered before Start, which fails
// otherwise; Status.HostFunctions has them. Once the engine runs, what a later configuration asks for can be registered for Reload.
//
// Errors: ErrInvalidArgument before the start, when no check of the configuration has that name; ErrState after the stop.
func (e *Engine) Check(name string, function TaskFunc) error {
	c := e.inner()
	if function == nil {
		return &Error{Code: ErrInvalidArgument, Message: "the function is nil"}
	}
	if err := e.OfferCheck(name); err != nil {
		return err
	}
	c.register(c.checks, name, function)
	return nil
}

// OfferCheck has checks of kind "host" called name come as events of kind TaskCheck, to be answered by CompleteTask. One that is not
// answered by its deadline is unknown. Errors: as for Check.
func (e *Engine) OfferCheck(name string) error {
	c := e.inner()
	return c.about(name, func(handle *C.failover_engine, name *C.char, wrong **C.failover_error) C.int32_t {
		return C.failover_engine_offer_check(handle, name, wrong)
	}, false)
}

// Action has the step ("pre_checks", "route_out", "route_restore", "fence", "promote" or "route_in") of every service carried out by
// function: "promote" instead of the engine's own way; "fence" where fence.command would be asked, so it must cut power or volume;
// "pre_checks" before what is configured, and the others beside it. Register before Start.
//
// Errors: ErrState once started; ErrInvalidArgument for any other step.
func (e *Engine) Action(step string, function TaskFunc) error {
	c := e.inner()
	if function == nil {
		return &Error{Code: ErrInvalidArgument, Message: "the function is nil"}
	}
	if err := e.OfferAction(step); err != nil {
		return err
	}
	c.register(c.actions, step, function)
	return nil
}

func (c *core) register(functions map[string]TaskFunc, name string, function TaskFunc) {
	c.registered.Lock()
	defer c.registered.Unlock()
	functions[name] = function
}

// OfferAction has the step come as an event of kind TaskAction, to be answered by CompleteTask. Errors: as for Action.
func (e *Engine) OfferAction(step string) error {
	c := e.inner()
	return c.about(step, func(handle *C.failover_engine, step *C.char, wrong **C.failover_error) C.int32_t {
		return C.failover_engine_offer_action(handle, step, wrong)
	}, false)
}

// CompleteTask answers a task that no function is registered for: its number is the field "task_id" of its event.
//
// Errors: ErrUnknownTask for a late, repeated or invented task: without any effect.
func (e *Engine) CompleteTask(task uint64, answer Answer) error {
	c := e.inner()
	return c.complete(task, answer)
}

func (c *core) complete(task uint64, answer Answer) error {
	detail := strings.ToValidUTF8(answer.Detail, "?")
	return c.call(func(handle *C.failover_engine, wrong **C.failover_error) C.int32_t {
		text := C.CBytes([]byte(detail))
		defer C.free(text)
		return C.failover_task_complete(handle, C.uint64_t(task), C.int32_t(answer.Result), (*C.char)(text), C.size_t(len(detail)), wrong)
	})
}

// Start takes the state directory and begins to watch. An engine starts once. The context is for the start alone; it takes
// milliseconds.
//
// Errors: ErrState when it was started before, and when another engine holds the state directory (then Retriable); ErrInvalidArgument
// when a check of kind "host" asks for a function that was neither registered nor offered; ErrSystem.
func (e *Engine) Start(ctx context.Context) error {
	c := e.inner()
	if c == nil {
		return errNone
	}
	if ctx == nil {
		return errNoContext
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	c.setting.Lock()
	defer c.setting.Unlock()
	err := c.call(func(handle *C.failover_engine, wrong **C.failover_error) C.int32_t {
		return C.failover_engine_start(handle, wrong)
	})
	if err != nil {
		return err
	}
	c.started = true
	c.startOnce.Do(func() {
		c.threads.Add(2)
		go c.poll()
		go c.log()
	})
	return nil
}

// poll takes every event from the library and hands it on. It runs no code of the program, so nothing holds it up: whoever reads
// slowly or not at all loses events, and checks and logs are served all the same.
func (c *core) poll() {
	defer c.threads.Done()
	defer close(c.outlet.events)
	defer close(c.records)
	wait := C.uint32_t(C.FAILOVER_FOREVER)
	for {
		var handle *C.failover_event
		// Close waits for this goroutine before it frees.
		code := C.failover_engine_next_event(c.handle, wait, &handle, nil)
		switch code {
		case C.FAILOVER_OK:
			wait = 0
		case C.FAILOVER_EMPTY:
			// The reader first: a call that blocks in C keeps this processor until the runtime takes it away, up to 10 ms later.
			runtime.Gosched()
			wait = C.FAILOVER_FOREVER
			continue
		default:
			// After the last event of an engine that has stopped.
			return
		}
		event, err := take(handle)
		if err != nil {
			c.note(err.Error())
			continue
		}
		switch event.Kind {
		case Log:
			c.record(event)
		case TaskCheck, TaskAction:
			c.serve(event)
		}
		c.outlet.put(event)
	}
}

// note logs by way of the queue: a handler of slog is code of the program, and the goroutine that polls runs none.
func (c *core) note(message string) {
	c.record(Event{Kind: Log, Severity: Warning, Time: time.Now(), Message: message})
}

func (c *core) record(event Event) {
	select {
	case c.records <- event:
	default:
		c.unwritten.Add(1)
	}
}

func (c *core) log() {
	defer c.threads.Done()
	levels := map[Severity]slog.Level{Debug: slog.LevelDebug, Info: slog.LevelInfo, Warning: slog.LevelWarn, Alarm: slog.LevelError}
	for event := range c.records {
		var about []any
		if event.Service != "" {
			about = append(about, "service", event.Service)
		}
		if event.Server != "" {
			about = append(about, "server", event.Server)
		}
		if lost := c.unwritten.Swap(0); lost > 0 {
			about = append(about, "lines_lost_before", lost)
		}
		c.logger.Log(context.Background(), levels[event.Severity], event.Message, about...)
	}
}

// Events is the channel of all events in their order, closed after the last one, EngineStopped. Whoever reads it slowly loses single
// observations and log lines first, then other events, what tells who is primary last; an event of kind Overflow says how many. The
// engine never waits for it. There is one channel: several readers share its events.
func (e *Engine) Events() <-chan Event {
	c := e.inner()
	if c == nil {
		none := make(chan Event)
		close(none)
		return none
	}
	return c.outlet.events
}

// Stop stops the engine: a failover before its point of no return is undone, one behind it finishes its step; then its threads and
// goroutines end, and the channel of events is closed. Stopping again does nothing.
//
// Errors: ErrTimeout and that of the context when it ends before; the engine goes on stopping, and Stop waits again.
func (e *Engine) Stop(ctx context.Context) error {
	return e.inner().stop(ctx)
}

func (c *core) stop(ctx context.Context) error {
	if ctx == nil {
		return errNoContext
	}
	for {
		left := slice
		if end, limited := ctx.Deadline(); limited {
			left = min(left, max(0, time.Until(end)))
		}
		err := c.call(func(handle *C.failover_engine, wrong **C.failover_error) C.int32_t {
			return C.failover_engine_stop(handle, C.uint32_t(left.Milliseconds()), wrong)
		})
		if err == nil {
			break
		}
		if !errors.Is(err, ErrTimeout) {
			return err
		}
		if ctx.Err() != nil {
			return errors.Join(err, ctx.Err())
		}
	}
	c.end()
	c.threads.Wait()
	c.setting.Lock()
	if !c.started {
		// Nobody polls an engine that never ran.
		c.started = true
		c.startOnce.Do(func() {
			close(c.outlet.events)
			close(c.records)
		})
	}
	c.setting.Unlock()
	returned := make(chan struct{})
	go func() {
		c.functions.Wait()
		close(returned)
	}()
	select {
	case <-returned:
	case <-time.After(grace):
		// Its answer is of no use any more, and nothing can end it.
		c.logger.Warn("the engine has stopped, but a function of the program has not returned")
	}
	return nil
}

// RequestStop begins to stop and returns at once. For functions that answer checks and actions, and wherever nobody can wait.
func (e *Engine) RequestStop() {
	c := e.inner()
	if c == nil {
		return
	}
	c.lock.RLock()
	defer c.lock.RUnlock()
	C.failover_engine_request_stop(c.handle)
}

// Close stops the engine, waiting 30 seconds at most, and frees it. Events that were not read can still be read. Closing again gives
// the same result. Close of nil, and of an Engine that New did not make, does nothing.
//
// Errors: as for Stop; then it is not freed.
func (e *Engine) Close() error {
	if e.inner() == nil {
		return nil
	}
	runtime.SetFinalizer(e, nil)
	return e.core.close()
}

func (c *core) close() error {
	c.closeOnce.Do(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if c.closed = c.stop(ctx); c.closed != nil {
			return
		}
		c.lock.Lock()
		defer c.lock.Unlock()
		C.failover_engine_free(c.handle)
		c.handle = nil
	})
	return c.closed
}

// Status is the state of everything at this moment. It does not block.
func (e *Engine) Status() (Status, error) {
	return e.StatusOf("")
}

// StatusOf is the same with one service alone, and costs the same whatever their number; "" is all of them.
//
// Errors: ErrInvalidArgument for an unknown service.
func (e *Engine) StatusOf(service string) (Status, error) {
	c := e.inner()
	var document []byte
	err := c.withStatus(service, func(status *C.failover_status) {
		document = []byte(C.GoString(C.failover_status_json(status)))
	})
	if err != nil {
		return Status{}, err
	}
	return readStatus(document)
}

// MetricsText has the numbers of one service, or with "" of all, in Prometheus' text format; with details also what each server, each
// check and each circuit breaker says by itself.
//
// Errors: as for StatusOf.
func (e *Engine) MetricsText(service string, details bool) (string, error) {
	c := e.inner()
	var text string
	err := c.withStatus(service, func(status *C.failover_status) {
		text = C.GoString(C.failover_status_metrics(status, C.bool(details)))
	})
	return text, err
}

func (c *core) withStatus(service string, use func(*C.failover_status)) error {
	return c.about(service, func(handle *C.failover_engine, service *C.char, wrong **C.failover_error) C.int32_t {
		var status *C.failover_status
		var code C.int32_t
		if service == nil {
			code = C.failover_engine_status(handle, &status, wrong)
		} else {
			code = C.failover_engine_status_of(handle, service, &status, wrong)
		}
		if code == C.FAILOVER_OK {
			use(status)
			C.failover_status_free(status)
		}
		return code
	}, true)
}

// Confirm says yes to the failover of service that waits for an operator.
//
// Errors of every command: ErrRejected (the message says why), ErrInvalidArgument for an unknown name, ErrState when the engine does not
// run, ErrFaulted, ErrTimeout after ten seconds without an answer.
func (e *Engine) Confirm(service string) error {
	c := e.inner()
	return c.about(service, func(handle *C.failover_engine, service *C.char, wrong **C.failover_error) C.int32_t {
		return C.failover_engine_confirm(handle, service, wrong)
	}, false)
}

// ConfirmAll says yes to every failover that waits for an operator. Errors: as for Confirm.
func (e *Engine) ConfirmAll() error {
	c := e.inner()
	return c.call(func(handle *C.failover_engine, wrong **C.failover_error) C.int32_t {
		return C.failover_engine_confirm_all(handle, wrong)
	})
}

// Pause: watch, decide nothing; one service, or all for "". It outlives a restart. Errors: as for Confirm.
func (e *Engine) Pause(service string) error {
	c := e.inner()
	return c.about(service, func(handle *C.failover_engine, service *C.char, wrong **C.failover_error) C.int32_t {
		return C.failover_engine_pause(handle, service, wrong)
	}, true)
}

// PauseOptions is how PauseWith pauses.
type PauseOptions struct {
	// Reason is one line of at most 500 characters, for status, events and journal.
	Reason string
	// For is after how long the pause ends by itself: from a millisecond to 30 days; 0 for when it is resumed.
	For time.Duration
}

// PauseWith is Pause with a reason, and with a time after which the pause ends by itself: an event of kind OperatorCommand says so, and
// everything is observed afresh. It ends at that moment also after a restart. Pausing again replaces both.
//
// Errors: as for Confirm; ErrInvalidArgument also for a reason or a time out of bounds.
func (e *Engine) PauseWith(service string, options PauseOptions) error {
	c := e.inner()
	if strings.ContainsRune(options.Reason, 0) {
		return &Error{Code: ErrInvalidArgument, Message: "the reason has a NUL character in it"}
	}
	millis := C.uint32_t(C.FAILOVER_FOREVER)
	if options.For != 0 {
		if options.For < time.Millisecond || options.For > 30*24*time.Hour {
			message := fmt.Sprintf("a pause for %v: it lasts from 1 ms to 30 days", options.For)
			return &Error{Code: ErrInvalidArgument, Message: message}
		}
		millis = C.uint32_t(options.For.Milliseconds())
	}
	reason, free := cstring(options.Reason, true)
	defer free()
	return c.about(service, func(handle *C.failover_engine, service *C.char, wrong **C.failover_error) C.int32_t {
		return C.failover_engine_pause_with(handle, service, reason, millis, wrong)
	}, true)
}

// Resume ends the pause of one service, or of all for "": everything is observed afresh first. Errors: as for Confirm.
func (e *Engine) Resume(service string) error {
	c := e.inner()
	return c.about(service, func(handle *C.failover_engine, service *C.char, wrong **C.failover_error) C.int32_t {
		return C.failover_engine_resume(handle, service, wrong)
	}, true)
}

// Reset takes service back from manual_intervention or failed_over to watching, and ends its cooldown. Errors: as for Confirm.
func (e *Engine) Reset(service string) error {
	c := e.inner()
	return c.about(service, func(handle *C.failover_engine, service *C.char, wrong **C.failover_error) C.int32_t {
		return C.failover_engine_reset(handle, service, wrong)
	}, false)
}

// SwitchoverOptions is how a primary hands over.
type SwitchoverOptions struct {
	// To is the standby that is promoted; empty for the best one.
	To string
	// At is when it begins, within the next 30 days; zero: now. One whose moment passes while no engine runs is reported as missed and
	// does not begin later.
	At time.Time
}

// Switchover lets a healthy primary of service hand over to a standby. Nothing is waived and no committed row is lost: where it cannot be
// proven that the standby has the whole log, nobody is promoted and the primary is started again. It returns the number of the failover
// when it has begun: the Generation of its events, which tell the rest; 0 for one that begins later.
//
// Errors: as for Confirm; ErrRejected with all that stands in the way.
func (e *Engine) Switchover(service string, options SwitchoverOptions) (uint64, error) {
	c := e.inner()
	if strings.ContainsRune(options.To, 0) {
		return 0, &Error{Code: ErrInvalidArgument, Message: "the name of the server has a NUL character in it"}
	}
	var at uint64
	if !options.At.IsZero() {
		// A moment before 1970 lies as much in the past as the first one after.
		at = uint64(max(1, options.At.UnixMilli()))
	}
	to, free := cstring(options.To, true)
	defer free()
	var generation C.uint64_t
	err := c.about(service, func(handle *C.failover_engine, service *C.char, wrong **C.failover_error) C.int32_t {
		return C.failover_engine_switchover(handle, service, to, C.uint64_t(at), &generation, wrong)
	}, false)
	return uint64(generation), err
}

// SwitchoverCancel takes the planned switchover of service back. Errors: as for Confirm; ErrRejected also when none is planned.
func (e *Engine) SwitchoverCancel(service string) error {
	c := e.inner()
	return c.about(service, func(handle *C.failover_engine, service *C.char, wrong **C.failover_error) C.int32_t {
		return C.failover_engine_switchover_cancel(handle, service, wrong)
	}, false)
}

// ForceOptions is how a failover is forced.
type ForceOptions struct {
	// To is the server that is promoted; empty for the best one.
	To string
	// AcceptLoss is how many bytes may be lost at most; nil for the configured limit.
	AcceptLoss *uint64
}

// Force begins a failover of service now, from every state but one in flight. A database's healthy primary is not forced away without a
// loss that is accepted: see Switchover. It returns the number of that failover when it has begun:
// the Generation of its events, which tell the rest.
//
// Errors: as for Confirm.
func (e *Engine) Force(service string, options ForceOptions) (uint64, error) {
	c := e.inner()
	if strings.ContainsRune(options.To, 0) {
		return 0, &Error{Code: ErrInvalidArgument, Message: "the name of the server has a NUL character in it"}
	}
	loss := uint64(C.FAILOVER_LOSS_CONFIGURED)
	if options.AcceptLoss != nil {
		loss = *options.AcceptLoss
	}
	to, free := cstring(options.To, true)
	defer free()
	var generation C.uint64_t
	err := c.about(service, func(handle *C.failover_engine, service *C.char, wrong **C.failover_error) C.int32_t {
		return C.failover_engine_force_with(handle, service, to, C.uint64_t(loss), &generation, wrong)
	}, false)
	return uint64(generation), err
}

// Adopt says that server, which takes writes, is the primary of service from here on: the way out after the event other_branch. Nothing
// is promoted, stopped or fenced; the traffic follows it.
//
// Errors: as for Confirm; ErrRejected also while the server takes no writes, or another one takes them as well.
func (e *Engine) Adopt(service, server string) error {
	c := e.inner()
	return c.aboutServer(service, server, func(handle *C.failover_engine, service, server *C.char, wrong **C.failover_error) C.int32_t {
		return C.failover_engine_adopt(handle, service, server, wrong)
	})
}

// Cordon says that no failover and no order promotes server of service from here on, until Uncordon. It is observed as before, and what
// it has of the log counts. It outlives restart and reload.
//
// Errors: as for Confirm; ErrRejected also while a failover is in flight.
func (e *Engine) Cordon(service, server string) error {
	c := e.inner()
	return c.aboutServer(service, server, func(handle *C.failover_engine, service, server *C.char, wrong **C.failover_error) C.int32_t {
		return C.failover_engine_cordon(handle, service, server, wrong)
	})
}

// Uncordon takes Cordon back. Errors: as for Confirm; ErrRejected also when it is not cordoned.
func (e *Engine) Uncordon(service, server string) error {
	c := e.inner()
	return c.aboutServer(service, server, func(handle *C.failover_engine, service, server *C.char, wrong **C.failover_error) C.int32_t {
		return C.failover_engine_uncordon(handle, service, server, wrong)
	})
}

// RejoinOptions is how an old primary comes back.
type RejoinOptions struct {
	// DryRun: nothing is changed; it is only found out what would be done and what stands in the way.
	DryRun bool
	// Rebuild: by a new copy of the primary's data; its own configuration is kept, and its data directory under another name.
	Rebuild bool
}

// CloneOptions is how a server gets its first copy.
type CloneOptions struct {
	// DryRun: nothing is changed; it is only found out what would be done and what stands in the way.
	DryRun bool
}

// Clone begins to make server of service, in whose data directory nothing is, a standby of the present primary by a first copy of its data.
// The event copy_progress tells how far it is, rejoin_ended and the status how it ends. Errors: as for Rejoin.
func (e *Engine) Clone(service, server string, options CloneOptions) error {
	c := e.inner()
	dry := C.int32_t(0)
	if options.DryRun {
		dry = 1
	}
	return c.aboutServer(service, server, func(handle *C.failover_engine, service, server *C.char, wrong **C.failover_error) C.int32_t {
		return C.failover_engine_clone(handle, service, server, dry, wrong)
	})
}

// Rejoin begins to bring server of service, a former primary that is stopped, back as a standby of the present primary: as it is where its
// log has nothing that the new primary lacks, else by pg_rewind, once for each failover. What only its log has is counted, reported (the
// event lost_transactions) and kept before anything is changed; the event rejoin_ended and the status tell how it ends.
//
// Errors: as for Confirm; ErrRejected also while a failover is in flight, while the server runs or is the primary, and without SSH to both
// hosts.
func (e *Engine) Rejoin(service, server string, options RejoinOptions) error {
	c := e.inner()
	dry := C.int32_t(0)
	if options.DryRun {
		dry = 1
	}
	return c.aboutServer(service, server, func(handle *C.failover_engine, service, server *C.char, wrong **C.failover_error) C.int32_t {
		if options.Rebuild {
			return C.failover_engine_rebuild(handle, service, server, dry, wrong)
		}
		return C.failover_engine_rejoin(handle, service, server, dry, wrong)
	})
}

// Reload takes another configuration in JSON while the engine runs. Counters restart. A configuration with mistakes changes nothing.
// Register or offer before what its checks of kind "host" ask for.
//
// Errors: ErrConfig; ErrInvalidArgument when a check asks for a function that nobody answers; ErrState when something differs that is fixed at start (state_dir) or the engine does not run; ErrRejected while a
// failover is in flight.
func (e *Engine) Reload(config []byte) error {
	c := e.inner()
	return c.call(func(handle *C.failover_engine, wrong **C.failover_error) C.int32_t {
		text := C.CBytes(config)
		defer C.free(text)
		return C.failover_engine_reload(handle, (*C.char)(text), C.size_t(len(config)), wrong)
	})
}

// ReloadFromFile is Reload from a file in TOML or JSON: what `failover run` reads at SIGHUP. Errors: as for Reload; ErrConfig also when the
// file cannot be read.
func (e *Engine) ReloadFromFile(path string) error {
	c := e.inner()
	if strings.ContainsRune(path, 0) {
		return &Error{Code: ErrInvalidArgument, Message: "the path has a NUL character in it"}
	}
	return c.call(func(handle *C.failover_engine, wrong **C.failover_error) C.int32_t {
		text, free := cstring(path, false)
		defer free()
		return C.failover_engine_reload_from_file(handle, text, wrong)
	})
}

// ReportOutcome tells how a call of the program's own to server of service ended; "" for the primary. One more observer: a call that timed
// out, was refused or reset makes the engine look at once, and never decides alone. It does not block, and may be called for every
// call.
//
// Errors: ErrInvalidArgument for an unknown name or outcome, ErrState when the engine does not run.
func (e *Engine) ReportOutcome(service, server string, outcome Outcome) error {
	c := e.inner()
	if strings.ContainsRune(server, 0) {
		return &Error{Code: ErrInvalidArgument, Message: "the name of the server has a NUL character in it"}
	}
	text, free := cstring(server, true)
	defer free()
	return c.about(service, func(handle *C.failover_engine, service *C.char, wrong **C.failover_error) C.int32_t {
		return C.failover_engine_report_outcome(handle, service, text, C.int32_t(outcome), wrong)
	}, false)
}
