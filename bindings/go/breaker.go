package failover

/*
#include <failover.h>
*/
import "C"

import (
	"runtime"
	"sync"
	"time"
)

// Breaker is a circuit breaker for the program's own calls. It needs no engine.
type Breaker struct {
	lock   sync.RWMutex
	handle *C.failover_breaker
}

// BreakerState is the state of a breaker.
type BreakerState int32

// The states of a breaker.
const (
	// BreakerClosed: every request.
	BreakerClosed BreakerState = C.FAILOVER_BREAKER_CLOSED
	// BreakerOpen: none, until its recovery time has passed.
	BreakerOpen BreakerState = C.FAILOVER_BREAKER_OPEN
	// BreakerHalfOpen: a few, to see whether it works again.
	BreakerHalfOpen BreakerState = C.FAILOVER_BREAKER_HALF_OPEN
)

// NewBreaker makes a closed breaker: it opens after threshold failures in a row (usual: 5), permits nothing for recovery (usual: 30
// seconds; to a millisecond), then halfOpen requests (usual: 3); when all of those succeed it closes, and one that fails opens it again.
//
// Errors: ErrInvalidArgument when one of them is out of range.
func NewBreaker(threshold uint32, recovery time.Duration, halfOpen uint32) (*Breaker, error) {
	millis := recovery.Milliseconds()
	if millis < 0 || millis > int64(^uint32(0)) {
		return nil, &Error{Code: ErrInvalidArgument, Message: "recovery is a time from 1 ms to 49 days"}
	}
	var handle *C.failover_breaker
	var wrong *C.failover_error
	code := C.failover_breaker_new(C.uint32_t(threshold), C.uint32_t(millis), C.uint32_t(halfOpen), &handle, &wrong)
	if err := failed(code, wrong); err != nil {
		return nil, err
	}
	breaker := &Breaker{handle: handle}
	runtime.SetFinalizer(breaker, (*Breaker).Close)
	return breaker, nil
}

// Permit asks whether a request may be made now. If so, call settle once afterwards with the outcome: nil for success.
//
// Errors: ErrRejected: not now; Error.RetryAfter says when.
func (b *Breaker) Permit() (settle func(outcome error), err error) {
	if b == nil {
		return nil, &Error{Code: ErrState, Message: "this Breaker was not made by NewBreaker"}
	}
	var token C.uint64_t
	var wrong *C.failover_error
	b.lock.RLock()
	code := C.failover_breaker_permit(b.handle, &token, &wrong)
	b.lock.RUnlock()
	if err := failed(code, wrong); err != nil {
		return nil, err
	}
	return func(outcome error) {
		result := C.int32_t(C.FAILOVER_BREAKER_SUCCESS)
		if outcome != nil {
			result = C.FAILOVER_BREAKER_FAILURE
		}
		b.settle(token, result)
	}, nil
}

// Do makes a request if the breaker permits it, and tells it how that ended. A panic counts as a failure and goes on.
//
// Errors: that of request; ErrRejected when it was not made.
func (b *Breaker) Do(request func() error) error {
	settle, err := b.Permit()
	if err != nil {
		return err
	}
	returned := false
	defer func() {
		if !returned {
			settle(ErrPanic)
		}
	}()
	err = request()
	returned = true
	settle(err)
	return err
}

func (b *Breaker) settle(token C.uint64_t, result C.int32_t) {
	b.lock.RLock()
	defer b.lock.RUnlock()
	if b.handle != nil {
		C.failover_breaker_settle(b.handle, token, result, nil)
	}
}

// State is what the breaker permits now; 0 after Close.
func (b *Breaker) State() BreakerState {
	if b == nil {
		return 0
	}
	b.lock.RLock()
	defer b.lock.RUnlock()
	return BreakerState(C.failover_breaker_state(b.handle))
}

// Reset closes the breaker, because the program knows that something has changed.
func (b *Breaker) Reset() {
	if b == nil {
		return
	}
	b.lock.RLock()
	defer b.lock.RUnlock()
	C.failover_breaker_reset(b.handle)
}

// Close frees the breaker. Closing again does nothing.
func (b *Breaker) Close() {
	if b == nil {
		return
	}
	b.lock.Lock()
	defer b.lock.Unlock()
	C.failover_breaker_free(b.handle)
	b.handle = nil
	runtime.SetFinalizer(b, nil)
}
