"""The bounded queue between the thread that takes events from the library and their reader."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import deque
from typing import Deque, List, Optional, Tuple

from .events import Event, EventKind, Severity

# What may be dropped first: it comes again, or is served by the pool.
_ORDINARY = frozenset({EventKind.OBSERVED, EventKind.LOG, EventKind.TASK_CHECK})
# Who is primary and what a failover came to: the last to go.
_ROLES = frozenset(
    {
        EventKind.PRIMARY_KNOWN,
        EventKind.FAILOVER_STARTED,
        EventKind.POINT_OF_NO_RETURN,
        EventKind.FAILOVER_COMPLETED,
        EventKind.FAILOVER_FAILED,
        EventKind.ROLLED_BACK,
        EventKind.MANUAL_INTERVENTION,
        EventKind.TWO_PRIMARIES,
        EventKind.OLD_PRIMARY_RETURNED,
        EventKind.FAULTED,
        EventKind.ENGINE_STOPPED,
    }
)
# A lock that is waited for in the main thread is left for every signal; the slice is for systems where it is not.
_SLICE = 0.5

_Waiter = Tuple[asyncio.AbstractEventLoop, "asyncio.Future[None]"]


class EventQueue:
    """put() never waits: the queue drops what no reader takes, oldest first, and counts it in an event of kind "overflow"."""

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        # Reentrant: a signal handler of the program may read events while the main thread is inside.
        self._changed = threading.Condition(threading.RLock())
        self._ordinary: Deque[Event] = deque()
        self._important: Deque[Event] = deque()
        self._waiters: List[_Waiter] = []
        self._dropped = 0
        self._important_dropped = 0
        self._last_dropped: Optional[Event] = None
        self._closed = False

    def put(self, event: Event) -> None:
        """Adds an event; drops another one where there is no room."""
        with self._changed:
            if self._closed:
                return
            mine = self._ordinary if event.kind in _ORDINARY else self._important
            if len(mine) >= self._capacity:
                self._drop(mine)
            mine.append(event)
            self._tell()

    def close(self) -> None:
        """Ends the queue; a reader can still take what is in it."""
        with self._changed:
            self._closed = True
            self._tell()

    def get(self, timeout: Optional[float]) -> Optional[Event]:
        """The next event, waiting up to `timeout` seconds (None: without end); None when none came, or none will."""
        end = None if timeout is None else time.monotonic() + timeout
        with self._changed:
            while True:
                event = self._pop()
                if event is not None or self._closed:
                    return event
                left = _SLICE if end is None else min(_SLICE, end - time.monotonic())
                if left <= 0:
                    return None
                self._changed.wait(left)

    @property
    def over(self) -> bool:
        """True if every event was taken and none will come."""
        with self._changed:
            return self._closed and not self._ordinary and not self._important and not self._dropped

    async def get_async(self) -> Optional[Event]:
        """The next event; None when no more will come. Cancelled at any time, it loses no event.

        The queue tells the loop by call_soon_threadsafe instead of the loop watching the library's descriptor: events must be
        taken all the time, by the one thread that does it, so that checks and logs are served while the loop is busy elsewhere;
        and every loop has call_soon_threadsafe, while not every one can watch descriptors.
        """
        loop = asyncio.get_running_loop()
        while True:
            with self._changed:
                event = self._pop()
                if event is not None or self._closed:
                    return event
                waiter = (loop, loop.create_future())
                self._waiters.append(waiter)
            try:
                await waiter[1]
            finally:
                with self._changed:
                    if waiter in self._waiters:
                        self._waiters.remove(waiter)

    def _tell(self) -> None:
        self._changed.notify_all()
        waiters, self._waiters = self._waiters, []
        for loop, future in waiters:
            try:
                loop.call_soon_threadsafe(_finish, future)
            except RuntimeError:
                # The loop was closed while somebody waited in it.
                continue

    def _pop(self) -> Optional[Event]:
        lines = [line for line in (self._ordinary, self._important) if line]
        line = min(lines, key=lambda line: line[0].seq) if lines else None
        lost = self._last_dropped
        if lost is not None and (line is None or lost.seq < line[0].seq):
            return self._overflow(lost)
        return None if line is None else line.popleft()

    def _drop(self, line: Deque[Event]) -> None:
        place = 0
        if line is self._important:
            place = next((at for at, event in enumerate(line) if event.kind not in _ROLES), 0)
            self._important_dropped += 1
        self._last_dropped = line[place]
        self._dropped += 1
        del line[place]

    def _overflow(self, lost: Event) -> Event:
        dropped, important = self._dropped, self._important_dropped
        self._dropped = self._important_dropped = 0
        self._last_dropped = None
        return Event(
            kind=EventKind.OVERFLOW,
            severity=Severity.ALARM if important else Severity.WARNING,
            seq=lost.seq,
            time=lost.time,
            mono_ns=lost.mono_ns,
            generation=0,
            service=None,
            server=None,
            message=f"{dropped} events were dropped here because they were not taken in time",
            fields={"dropped": dropped, "important_dropped": important},
        )


def _finish(future: "asyncio.Future[None]") -> None:
    if not future.done():
        future.set_result(None)
