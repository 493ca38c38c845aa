"""The inside of an Engine: the library's handle, the thread that takes every event, and the threads that run the program's own
code.

The threads, all daemons, none of which keeps the process or a dropped Engine alive:

failover-poll     takes every event from the library and hands it on. Runs no code of the program, so nothing can hold it up.
failover-log      gives LOG events to logging.
failover-handler  calls the functions of on_event; only where there are some.
failover-check-N, failover-action-N  run the program's checks and actions; made when they are needed.

No Python function is ever called by a thread of the library (see _signatures.py).
"""

from __future__ import annotations

import atexit
import logging
import os
import threading
import time
import traceback
import warnings
import weakref
from ctypes import byref
from datetime import datetime, timezone
from typing import Any, Callable, Dict, List, Optional, Set

from ._library import lib
from ._pool import Pool
from ._queue import EventQueue
from ._signatures import EngineHandle, EventHandle
from .errors import Code, FailoverError, HandlerError, StateError, Timeout, call, code_name, error, text
from .events import Event, EventKind, Severity, take
from .tasks import Answer, Task, action_answer, check_answer, task_of

LOGGER = logging.getLogger("failover")
LEVELS: Dict[int, int] = {
    Severity.DEBUG: logging.DEBUG,
    Severity.INFO: logging.INFO,
    Severity.WARNING: logging.WARNING,
    Severity.ALARM: logging.ERROR,
}
# The library's own queue is as long.
CAPACITY = 1024
# How long one call waits in the library: how late a dropped engine, or an interrupted stop, is noticed.
SLICE_MS = 250
# How long the interpreter's exit waits for all engines together, and how long a stop waits for checks that are still running.
EXIT_TIMEOUT = 5.0
GRACE = 1.0
ERRORS_KEPT = 16
ACTION_THREADS = 4

Handler = Callable[[Event], object]


class Core:
    """Shared by an Engine and its threads; lives as long as either."""

    def __init__(self, handle: EngineHandle, workers: int) -> None:
        self.checks: Dict[str, Callable[[Task], Any]] = {}
        self.actions: Dict[str, Callable[[Task], Any]] = {}
        self.handlers: List[Handler] = []
        self.queue = EventQueue(CAPACITY)
        self.read_directly = False
        self.forked = False
        self.abandoned = False
        self._handle = handle
        self._owned = [handle]
        # Reentrant: a signal handler of the program may call in while the main thread is inside.
        self._lock = threading.Condition(threading.RLock())
        self._users = 0
        self._closed = False
        self._polled = threading.Event()
        self._poller: Optional[threading.Thread] = None
        self._served: List[threading.Thread] = []
        self._logs = EventQueue(CAPACITY)
        self._check_pool = Pool("failover-check", workers)
        self._action_pool = Pool("failover-action", ACTION_THREADS)
        self._errors: List[BaseException] = []
        self._error_count = 0
        self._complaints: Dict[str, str] = {}
        self._unanswered: Set[str] = set()
        _cores.add(self)

    # Calls into the library.

    def here(self) -> None:
        """Errors: Forked in a child process."""
        if self.forked:
            raise error(
                Code.FORKED,
                "this engine belongs to a parent process: threads do not survive fork; make the engine after it "
                "(in a worker's start hook, or with multiprocessing's spawn)",
            )

    def call(self, function: Any, *arguments: Any) -> None:
        """Calls a function of the library on the engine, which is not freed meanwhile."""
        self.here()
        try:
            with self._lock:
                # In this order: the garbage collector may close in between, on this very thread.
                self._users += 1
                if self._closed:
                    raise error(Code.STATE, "the engine is closed: make another one")
            call(function, self._handle, *arguments)
        finally:
            with self._lock:
                self._users -= 1
                if self._users == 0:
                    self._lock.notify_all()

    def request_stop(self) -> None:
        if self.forked:
            return
        with self._lock:
            if not self._closed:
                lib.failover_engine_request_stop(self._handle)

    # Start and stop.

    def start(self) -> None:
        self.call(lib.failover_engine_start)
        try:
            self._spawn("failover-log", lambda: self._serve(self._logs, self._log))
            with self._lock:
                if self.handlers:
                    self._spawn("failover-handler", lambda: self._serve(self.queue, self._handle_event))
                # Last: it closes the queues that end the others.
                self._poller = self._spawn("failover-poll", self._poll)
        except RuntimeError as no_thread:
            self.queue.close()
            self._logs.close()
            self.call(lib.failover_engine_stop, int(EXIT_TIMEOUT * 1000))
            raise error(Code.SYSTEM, f"no thread for the engine's events: {no_thread}") from no_thread

    def _spawn(self, name: str, target: Callable[[], None]) -> threading.Thread:
        thread = threading.Thread(target=target, name=name, daemon=True)
        thread.start()
        if target != self._poll:
            self._served.append(thread)
        return thread

    def own_thread(self) -> bool:
        me = threading.current_thread()
        return me is self._poller or any(
            me in threads for threads in (self._served, self._check_pool.threads, self._action_pool.threads)
        )

    def stop(self, timeout: Optional[float]) -> None:
        """Stops the engine and ends its threads. Errors: Timeout, Reentrant, Forked."""
        self.here()
        if self.own_thread():
            raise error(Code.REENTRANT, "stop would wait for the thread it is called on: call request_stop there")
        end = None if timeout is None else time.monotonic() + timeout
        # In slices, so that Ctrl-C is seen.
        while True:
            left = SLICE_MS if end is None else min(SLICE_MS, max(0, int((end - time.monotonic()) * 1000)))
            try:
                self.call(lib.failover_engine_stop, left)
                break
            except Timeout:
                if end is not None and time.monotonic() >= end:
                    raise
            except StateError:
                # Closed by another thread, or before.
                break
        self._check_pool.close()
        self._action_pool.close()
        if self._poller is None:
            self.queue.close()
        for thread in [thread for thread in (self._poller, *self._served) if thread is not None]:
            thread.join(None if end is None else max(GRACE, end - time.monotonic()))
            if thread.is_alive():
                raise error(Code.TIMEOUT, f"the engine has stopped, but a function of the program has not returned ({thread.name})")
        grace_end = time.monotonic() + GRACE
        for pool in (self._check_pool, self._action_pool):
            # A check that hangs is left to itself: its answer is of no use any more.
            pool.join(max(0.0, grace_end - time.monotonic()))

    def raise_errors(self) -> None:
        """Errors: HandlerError, once for what handlers raised since the last time."""
        with self._lock:
            errors, count = self._errors, self._error_count
            self._errors, self._error_count = [], 0
        if errors:
            raise HandlerError(errors, count) from errors[0]

    def close(self) -> None:
        """Frees a stopped engine as soon as no other thread uses it."""
        if self.forked:
            return
        self._closed = True
        if not self._lock.acquire(timeout=GRACE):
            return
        try:
            # What is not given back in time is kept: somebody is still in there.
            if not self._lock.wait_for(lambda: self._users == 0, GRACE):
                return
        finally:
            self._lock.release()
        self._free()

    def abandon(self) -> None:
        """The Engine was dropped. The garbage collector may call this on any thread, so it does not wait for the engine: the
        polling thread frees it."""
        if self.forked:
            return
        self.abandoned = True
        if self._poller is None or self._polled.is_set():
            self.close()
            return
        lib.failover_engine_request_stop(self._handle)
        warnings.warn("an engine was dropped while it ran: use `with` or close()", ResourceWarning, source=None, stacklevel=2)

    def let_go(self) -> None:
        """Runs in a child of fork: frees nothing, and gives up the child's copy of the lock on the state directory."""
        for handle in self._owned:
            lib.failover_engine_free(handle)

    def _free(self) -> None:
        # Taken out by one thread only, however many come here.
        try:
            handle = self._owned.pop()
        except IndexError:
            return
        lib.failover_engine_free(handle)

    # Events.

    def _poll(self) -> None:
        try:
            while True:
                handle = EventHandle()
                code = int(lib.failover_engine_next_event(self._handle, SLICE_MS, byref(handle), None))
                if code == Code.OK:
                    self._hand_on(handle)
                elif code == Code.STATE:
                    # After the last event of a stopped engine.
                    break
                elif code != Code.EMPTY:
                    self._note(0, f"no event could be taken: {code_name(code)}")
                    if self.abandoned:
                        break
                    self._polled.wait(SLICE_MS / 1000)
        finally:
            self.queue.close()
            self._logs.close()
            self._polled.set()
            if self.abandoned:
                self._check_pool.close()
                self._action_pool.close()
                self.close()

    def _hand_on(self, handle: EventHandle) -> None:
        try:
            event = take(handle)
        except (ValueError, TypeError, OverflowError) as wrong:
            # This thread has to live on: unanswered checks would count as failures.
            self._note(0, f"an event could not be read: {wrong}")
            return
        if event.kind is EventKind.LOG:
            self._logs.put(event)
        elif event.kind is EventKind.TASK_CHECK:
            self._ask(event, self.checks, self._check_pool, check_answer)
        elif event.kind is EventKind.TASK_ACTION:
            self._ask(event, self.actions, self._action_pool, action_answer)
        self.queue.put(event)

    def _ask(
        self, event: Event, functions: Dict[str, Callable[[Task], Any]], pool: Pool, read: Callable[[Any], Answer]
    ) -> None:
        task = task_of(event)
        function = functions.get(task.name)
        if function is None:
            if task.name not in self._unanswered:
                self._unanswered.add(task.name)
                self._note(event.seq, f'no function answers "{task.name}": Engine.complete_task has to')
            return
        key = (event.kind, task.name, event.fields.get("check"), task.service, task.server)
        pool.submit(key, task, lambda: self._answer(task, function, read))

    def _answer(self, task: Task, function: Callable[[Task], Any], read: Callable[[Any], Answer]) -> None:
        try:
            answer = read(function(task))
        except BaseException as raised:  # SystemExit in a check must not end its thread either.
            detail = traceback.format_exception_only(type(raised), raised)[-1].strip()
            answer = Answer.unknown(detail)
            self._complain(task.name, f'"{task.name}" raised {detail}', raised)
        try:
            self.complete_task(task.id, int(answer.result), answer.detail)
        except FailoverError as late:
            LOGGER.debug('the answer of "%s" came too late: %s', task.name, late)

    def _note(self, seq: int, message: str) -> None:
        # By way of the queue: a log handler is the program's code, and the thread that polls runs none.
        now = datetime.now(timezone.utc)
        self._logs.put(Event(EventKind.LOG, Severity.WARNING, seq, now, 0, 0, None, None, message))

    def _complain(self, name: str, message: str, raised: BaseException) -> None:
        # A check is asked many times a minute: each complaint once, until another one comes.
        level = logging.DEBUG if self._complaints.get(name) == message else logging.WARNING
        self._complaints[name] = message
        LOGGER.log(level, "%s", message, exc_info=raised)

    def complete_task(self, task: int, result: int, detail: str) -> None:
        encoded = detail.encode(errors="replace")
        self.call(lib.failover_task_complete, task, result, encoded, len(encoded))

    def offer_check(self, name: str) -> None:
        self.call(lib.failover_engine_offer_check, text(name, "name"))

    def offer_action(self, step: str) -> None:
        self.call(lib.failover_engine_offer_action, text(step, "step"))

    def _serve(self, queue: EventQueue, function: Handler) -> None:
        while True:
            event = queue.get(None)
            if event is None:
                return
            function(event)

    def _log(self, event: Event) -> None:
        level = LEVELS.get(event.severity, logging.INFO)
        if not LOGGER.isEnabledFor(level):
            return
        try:
            LOGGER.log(level, "%s", event.message, extra={"failover_event": event})
        except Exception as raised:
            self._keep(raised)

    def _handle_event(self, event: Event) -> None:
        for handler in list(self.handlers):
            try:
                handler(event)
            except BaseException as raised:  # SystemExit in a handler must not end its thread either.
                LOGGER.exception("a handler of events raised")
                self._keep(raised)

    def _keep(self, raised: BaseException) -> None:
        with self._lock:
            self._error_count += 1
            if len(self._errors) < ERRORS_KEPT:
                self._errors.append(raised)

    # Who reads the events.

    def add_handler(self, handler: Handler) -> None:
        self.here()
        with self._lock:
            if self._closed:
                raise error(Code.STATE, "the engine is closed: make another one")
            if self.read_directly:
                raise error(Code.STATE, "the events are read by events() or next_event(): an engine has one consumer of events")
            self.handlers.append(handler)
            if len(self.handlers) == 1 and self._poller is not None:
                self._spawn("failover-handler", lambda: self._serve(self.queue, self._handle_event))

    def reader(self) -> EventQueue:
        """The queue, for a program that reads it itself. Errors: StateError if there are handlers; Forked."""
        self.here()
        if not self.read_directly:
            with self._lock:
                if self.handlers:
                    raise error(Code.STATE, "the events go to on_event: an engine has one consumer of events")
                self.read_directly = True
        return self.queue


_cores: "weakref.WeakSet[Core]" = weakref.WeakSet()


def _mark_forked() -> None:
    for core in list(_cores):
        core.forked = True
        core.let_go()
    _cores.clear()


def _stop_all() -> None:
    """Runs at the interpreter's exit, while threads still run: it asks all engines to stop, then waits for them, for EXIT_TIMEOUT
    in all."""
    cores = [core for core in list(_cores) if not core.forked]
    end = time.monotonic() + EXIT_TIMEOUT
    for core in cores:
        core.request_stop()
    for core in cores:
        try:
            core.stop(max(0.0, end - time.monotonic()))
            core.raise_errors()
        except (FailoverError, HandlerError) as late:
            LOGGER.warning("at exit: %s", late)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_mark_forked)
atexit.register(_stop_all)
