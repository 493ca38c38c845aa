package failover

/*
#include <failover.h>
*/
import "C"

import (
	"encoding/json"
	"strings"
	"time"
)

// Code is why a call failed, by what the caller does next. Each is an error of its own, for errors.Is:
//
//	if errors.Is(err, failover.ErrRejected) { … }
type Code int32

// The codes. A newer library may have more of them.
const (
	// ErrTimeout: it is not over yet, and the engine goes on with it; calling again waits again.
	ErrTimeout Code = C.FAILOVER_TIMEOUT
	// ErrInvalidArgument: out of range, no UTF-8, or names something that does not exist.
	ErrInvalidArgument Code = C.FAILOVER_INVALID_ARG
	// ErrConfig: the configuration cannot be used; Error.Mistakes tells everything that is wrong with it.
	ErrConfig Code = C.FAILOVER_CONFIG
	// ErrState: the call does not fit the engine's present state.
	ErrState Code = C.FAILOVER_STATE
	// ErrReentrant: the call would wait for the goroutine it runs on; use RequestStop there.
	ErrReentrant Code = C.FAILOVER_REENTRANT
	// ErrForked: the engine belongs to a parent process.
	ErrForked Code = C.FAILOVER_FORKED
	// ErrSystem: the operating system refused something.
	ErrSystem Code = C.FAILOVER_SYSTEM
	// ErrUnknownTask: the task was answered already, was cancelled, or is past its deadline.
	ErrUnknownTask Code = C.FAILOVER_UNKNOWN_TASK
	// ErrFaulted: a bug was caught earlier, and decisions are frozen; Status and Stop still work.
	ErrFaulted Code = C.FAILOVER_FAULTED
	// ErrPanic: a bug was caught in this call.
	ErrPanic Code = C.FAILOVER_PANIC
	// ErrUnsupported: this build of the library cannot do it.
	ErrUnsupported Code = C.FAILOVER_UNSUPPORTED
	// ErrRejected: the engine rejected the command; the message says why.
	ErrRejected Code = C.FAILOVER_REJECTED
)

// String is the word of the code, such as "rejected".
func (c Code) String() string {
	return C.GoString(C.failover_code_name(C.int32_t(c)))
}

// Error says what the code means.
func (c Code) Error() string {
	return "failover: " + C.GoString(C.failover_code_description(C.int32_t(c)))
}

// Error is the reason why a call failed. errors.Is compares it with a Code; errors.As gives the rest.
type Error struct {
	// Code is the kind of the error.
	Code Code
	// Message says what went wrong and what to do, in one line.
	Message string
	// Path is the JSON pointer to the first value of a configuration that is wrong; empty where there is none.
	Path string
	// Retriable: the same call may succeed later without anything being changed.
	Retriable bool
	// Mistakes is everything that is wrong with a configuration.
	Mistakes []Mistake
	// RetryAfter is how long an open Breaker permits nothing more.
	RetryAfter time.Duration
}

// Mistake is one thing that is wrong with a configuration.
type Mistake struct {
	// Path is the JSON pointer to the value.
	Path string `json:"path"`
	// Value is what stands there, as JSON; secrets are masked.
	Value json.RawMessage `json:"value"`
	// Reason says what is wrong with it, Remedy what to write instead.
	Reason string `json:"reason"`
	Remedy string `json:"remedy"`
}

// Error is the message.
func (e *Error) Error() string {
	return "failover: " + e.Message
}

// Unwrap is the code, for errors.Is.
func (e *Error) Unwrap() error {
	return e.Code
}

// failed is the error of a call that returned code; err is freed. nil for success.
func failed(code C.int32_t, err *C.failover_error) error {
	if code == C.FAILOVER_OK {
		return nil
	}
	defer C.failover_error_free(err)
	wrong := &Error{Code: Code(code)}
	if err == nil {
		wrong.Message = strings.TrimPrefix(wrong.Code.Error(), "failover: ")
		return wrong
	}
	wrong.Message = C.GoString(C.failover_error_message(err))
	if path := C.failover_error_path(err); path != nil {
		wrong.Path = C.GoString(path)
	}
	wrong.Retriable = bool(C.failover_error_is_retriable(err))
	var rest struct {
		Errors     []Mistake `json:"errors"`
		RetryAfter float64   `json:"retry_after_ms"`
	}
	// What a newer library writes otherwise is missing here, and the message is there all the same.
	_ = json.Unmarshal([]byte(C.GoString(C.failover_error_json(err))), &rest)
	wrong.Mistakes = rest.Errors
	wrong.RetryAfter = time.Duration(rest.RetryAfter * float64(time.Millisecond))
	return wrong
}
