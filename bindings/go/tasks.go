package failover

/*
#include <failover.h>
*/
import "C"

import (
	"context"
	"fmt"
	"time"
)

// Outcome is how a call of the program's own to a server ended: for Engine.ReportOutcome.
type Outcome int32

// The outcomes.
const (
	// OutcomeOK: served as it should be.
	OutcomeOK Outcome = C.FAILOVER_OUTCOME_OK
	// OutcomeTimeout: no answer within the program's own time.
	OutcomeTimeout Outcome = C.FAILOVER_OUTCOME_TIMEOUT
	// OutcomeRefused: the connection was refused.
	OutcomeRefused Outcome = C.FAILOVER_OUTCOME_REFUSED
	// OutcomeReset: the connection ended in the middle of the call.
	OutcomeReset Outcome = C.FAILOVER_OUTCOME_RESET
	// OutcomeRejected: the server answered that it does not serve now: starting, stopping, no slot left, read-only.
	OutcomeRejected Outcome = C.FAILOVER_OUTCOME_REJECTED
	// OutcomeError: anything else; says nothing about the server.
	OutcomeError Outcome = C.FAILOVER_OUTCOME_ERROR
)

// Result is how a task ended.
type Result int32

// The results. Those of a check are ResultUp to ResultUnknown; those of an action ResultDone, ResultNoEffect and ResultUnknown.
const (
	// ResultUp: it answered, and the answer was right.
	ResultUp Result = C.FAILOVER_TASK_UP
	// ResultImpaired: it is alive, proven, but not serving.
	ResultImpaired Result = C.FAILOVER_TASK_IMPAIRED
	// ResultDown: it did not answer, or not as a healthy one answers. The only answer that counts as a failure.
	ResultDown Result = C.FAILOVER_TASK_DOWN
	// ResultUnknown: it could not be asked; of an action, it failed, and part of the effect may have happened.
	ResultUnknown Result = C.FAILOVER_TASK_UNKNOWN
	// ResultDone: the action did its work, and that is proven.
	ResultDone Result = C.FAILOVER_TASK_DONE
	// ResultNoEffect: the action failed, proven to have had no effect.
	ResultNoEffect Result = C.FAILOVER_TASK_NO_EFFECT
)

// Answer is the answer to a task, with one line for people.
type Answer struct {
	Result Result
	Detail string
}

// Up answers a check: it serves.
func Up(detail string) Answer { return Answer{ResultUp, detail} }

// Impaired answers a check: alive, proven, but not serving.
func Impaired(detail string) Answer { return Answer{ResultImpaired, detail} }

// Down answers a check: the only answer that counts as a failure.
func Down(detail string) Answer { return Answer{ResultDown, detail} }

// Unknown answers a check that could not be asked, or an action that may have had part of its effect.
func Unknown(detail string) Answer { return Answer{ResultUnknown, detail} }

// Done answers an action: it did its work, and that is proven; for "fence" this means power or volume cut.
func Done(detail string) Answer { return Answer{ResultDone, detail} }

// NoEffect answers an action that failed, proven to have had no effect.
func NoEffect(detail string) Answer { return Answer{ResultNoEffect, detail} }

// Task is what a check or an action is asked.
type Task struct {
	// ID is for Engine.CompleteTask.
	ID uint64
	// Name is the check's function, or the step.
	Name string
	// Service and Server are what it is about.
	Service, Server string
	// Host and Port are those of the server by configuration.
	Host string
	Port uint16
	// Generation is, of an action, the failover it belongs to. (Generation, Name) is the idempotency key: asked again with the same one,
	// find the work done; asked with a lower one than the highest seen, refuse.
	Generation uint64
	// Deadline: a later answer changes nothing. The context of the function ends then too.
	Deadline time.Time
}

// TaskFunc carries out a check or an action. Its context ends at the task's deadline and when the engine stops. Functions are called on
// goroutines of their own, several at once, but for one server and name one at a time. A panic in one is "unknown".
type TaskFunc func(ctx context.Context, task Task) Answer

func taskOf(event Event, now time.Time) Task {
	field := func(name string) string {
		text, _ := event.Fields[name].(string)
		return text
	}
	number := func(name string) uint64 {
		switch value := event.Fields[name].(type) {
		case int64:
			return uint64(value)
		case uint64:
			return value
		}
		return 0
	}
	task := Task{ID: number("task_id"), Name: field("step"), Service: event.Service, Server: event.Server, Generation: event.Generation, Host: event.Host, Port: event.Port}
	if event.Kind == TaskCheck {
		task.Name = field("function")
	}
	task.Deadline = now.Add(time.Duration(number("deadline_ms")) * time.Millisecond)
	return task
}

// taskKey is what of only one function runs at a time.
type taskKey struct {
	kind                  Kind
	check, name, svc, srv string
}

func keyOf(event Event, task Task) taskKey {
	check, _ := event.Fields["check"].(string)
	return taskKey{event.Kind, check, task.Name, task.Service, task.Server}
}

// serve answers a task by its function, on a goroutine of its own.
func (c *core) serve(event Event) {
	task := taskOf(event, time.Now())
	functions := c.checks
	if event.Kind == TaskAction {
		functions = c.actions
	}
	c.registered.RLock()
	function := functions[task.Name]
	c.registered.RUnlock()
	if function == nil {
		if _, told := c.unanswered.LoadOrStore(task.Name, true); !told {
			c.logger.Warn(fmt.Sprintf("no function answers %q: Engine.CompleteTask has to", task.Name))
		}
		return
	}
	key := keyOf(event, task)
	if _, busy := c.busy.LoadOrStore(key, true); busy {
		// The engine asks again only after a deadline: an earlier call has not come back. That says nothing about the server.
		c.answer(task, Unknown("the function has not returned from an earlier call"))
		return
	}
	c.functions.Add(1)
	go func() {
		defer c.functions.Done()
		defer c.busy.Delete(key)
		ctx, cancel := context.WithDeadline(c.life, task.Deadline)
		defer cancel()
		c.answer(task, c.ask(ctx, function, task))
	}()
}

func (c *core) ask(ctx context.Context, function TaskFunc, task Task) (answer Answer) {
	defer func() {
		if panicked := recover(); panicked != nil {
			answer = Unknown(fmt.Sprintf("panic: %v", panicked))
			c.logger.Error(fmt.Sprintf("the function of %q panicked", task.Name), "panic", panicked)
		}
	}()
	return function(ctx, task)
}

func (c *core) answer(task Task, answer Answer) {
	if err := c.complete(task.ID, answer); err != nil {
		c.logger.Debug(fmt.Sprintf("the answer of %q came too late", task.Name), "error", err)
	}
}
