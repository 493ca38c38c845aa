"""A circuit breaker for the program's own calls. Needs no engine."""

from __future__ import annotations

import functools
import inspect
import weakref
from contextlib import contextmanager
from ctypes import byref, c_uint64
from enum import IntEnum
from typing import Any, Callable, Iterator, Tuple, Type, TypeVar, cast

from ._arguments import seconds, whole
from ._library import lib
from ._signatures import BreakerHandle
from .errors import Code, call, error

__all__ = ["BreakerState", "CircuitBreaker"]

FunctionT = TypeVar("FunctionT", bound=Callable[..., Any])

_SUCCESS, _FAILURE, _CANCELLED = 1, 2, 3
_LONGEST_MS = 2**32 - 1


class BreakerState(IntEnum):
    """The states of a breaker."""

    CLOSED = 1
    """Every request."""
    OPEN = 2
    """None, until its recovery time has passed."""
    HALF_OPEN = 3
    """A few, to see whether it works again."""


class CircuitBreaker:
    """Opens after `failure_threshold` failures in a row, permits nothing for `recovery` seconds, then `half_open_requests` requests; when
    all of those succeed it closes, and one that fails opens it again. `failures`: the exceptions that count as a failure. Any other
    Exception counts as a success of the other side; Ctrl-C and a cancelled task do not count.

    Every method may be called from any thread, at the same time, and does not block.
    Errors: InvalidArgument for numbers out of range.

        breaker = CircuitBreaker()
        with breaker.permit():
            ask()
    """

    def __init__(
        self,
        failure_threshold: int = 5,
        recovery: float = 30.0,
        half_open_requests: int = 3,
        *,
        failures: Tuple[Type[BaseException], ...] = (Exception,),
    ) -> None:
        numbers = {
            "failure_threshold": failure_threshold,
            "recovery (in milliseconds)": round(seconds(recovery, "recovery") * 1000),
            "half_open_requests": half_open_requests,
        }
        given = [whole(number, name, 1, _LONGEST_MS) for name, number in numbers.items()]
        handle = BreakerHandle()
        call(lib.failover_breaker_new, *given, byref(handle))
        self._handle = handle
        self._failures = failures
        finalizer = weakref.finalize(self, lib.failover_breaker_free, handle)
        # The process gives everything back by itself, and a daemon thread may still be in here then.
        finalizer.atexit = False  # type: ignore[misc] # a property, which its stub does not say

    @contextmanager
    def permit(self) -> Iterator[None]:
        """Asks whether a request may be made now, and records how the block ends.

        Errors: Rejected: not now; its `retry_after` says in how many seconds. Forked in a child process.
        """
        token = c_uint64()
        call(lib.failover_breaker_permit, self._handle, byref(token))
        result = _CANCELLED
        try:
            yield
            result = _SUCCESS
        except self._failures:
            result = _FAILURE
            raise
        except Exception:
            result = _SUCCESS
            raise
        finally:
            call(lib.failover_breaker_settle, self._handle, token, result)

    def __call__(self, function: FunctionT) -> FunctionT:
        """As a decorator: every call of the function, also of an async one, needs a permit."""
        if inspect.iscoroutinefunction(function):

            @functools.wraps(function)
            async def waited(*arguments: Any, **named: Any) -> Any:
                with self.permit():
                    return await function(*arguments, **named)

            return cast(FunctionT, waited)

        @functools.wraps(function)
        def called(*arguments: Any, **named: Any) -> Any:
            with self.permit():
                return function(*arguments, **named)

        return cast(FunctionT, called)

    @property
    def state(self) -> BreakerState:
        """Its present state. Errors: Forked in a child process."""
        number = int(lib.failover_breaker_state(self._handle))
        if number == 0:
            raise error(Code.FORKED, "this breaker belongs to a parent process: make one after fork")
        return BreakerState(number)

    def reset(self) -> None:
        """Closes it, because the program knows that something has changed."""
        lib.failover_breaker_reset(self._handle)
