"""The engine."""

from __future__ import annotations

import asyncio
import inspect
import json
import os
import threading
import time
import weakref
from ctypes import byref, c_uint64
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Any, AsyncIterator, Callable, Dict, Iterator, List, Optional, Type, TypeVar, Union

from ._arguments import Config, path_of, seconds, timeout_of, whole
from ._arguments import document as document_of
from ._core import Core
from ._library import lib
from ._signatures import EngineHandle, ReportHandle, StatusHandle
from .errors import Code, HandlerError, call, error, text
from .events import Event, EventKind
from .reports import CheckSummary, DoctorReport, Preflight, Survived, read
from .status import Status
from .tasks import ActionFunction, Answer, CheckFunction, Done, NoEffect, Outcome, Unknown, action_answer

__all__ = ["Config", "Engine", "Events"]

CheckT = TypeVar("CheckT", bound=CheckFunction)
ActionT = TypeVar("ActionT", bound=ActionFunction)
HandlerT = TypeVar("HandlerT", bound=Callable[[Event], object])

# For failover_engine_pause_with: until it is resumed; for a report: without end.
_FOREVER = 2**32 - 1
# For failover_engine_force: the configured limit.
_LOSS_CONFIGURED = 2**64 - 1
_MOST_WORKERS = 1024
_STOP_TIMEOUT = 30.0
_LOOK_TIMEOUT = 60.0


class Events:
    """The events of an engine, for `for` and `async for`. Ends after "engine_stopped". Each event goes to one reader."""

    def __init__(self, engine: Engine, core: Core) -> None:
        # While somebody iterates, the engine is not dropped.
        self._engine = engine
        self._core = core

    def __iter__(self) -> Iterator[Event]:
        return self

    def __next__(self) -> Event:
        event = self._core.reader().get(None)
        if event is None:
            raise StopIteration
        return event

    def __aiter__(self) -> AsyncIterator[Event]:
        return self

    async def __anext__(self) -> Event:
        event = await self._core.reader().get_async()
        if event is None:
            raise StopAsyncIteration
        return event


class Engine:
    """An engine: it watches servers, decides when the primary has failed, fences it, promotes a standby, moves the traffic.

    config: a dict or a text in JSON, or the path of a file in TOML or JSON (docs/CONFIG.md). workers: how many of the program's own
    checks run at once. Starts nothing: `with engine:` or start() does. Every method may be called from any thread, at the same
    time, unless it says otherwise; all but those of Engine's making raise StateError after close() and Forked in a child process.

    Errors: ConfigError (its `details` have every mistake), InvalidArgument, SystemFault.

        with Engine(Path("failover.toml")) as engine:
            for event in engine.events():
                print(event.kind, event.message)
    """

    def __init__(self, config: Config, *, workers: int = 8) -> None:
        workers = whole(workers, "workers", 1, _MOST_WORKERS)
        handle = EngineHandle()
        if isinstance(config, os.PathLike):
            call(lib.failover_engine_new_from_file, path_of(config), byref(handle))
        else:
            document = document_of(config)
            call(lib.failover_engine_new, document, len(document), byref(handle))
        self._core = Core(handle, workers)
        self._finalizer = weakref.finalize(self, Core.abandon, self._core)
        # What runs then must find threads alive: _core has its own hook.
        self._finalizer.atexit = False  # type: ignore[misc] # a property, which its stub does not say

    @classmethod
    def from_file(cls, path: Union[str, "os.PathLike[str]"], *, workers: int = 8) -> Engine:
        """An engine from a file in TOML or JSON: what `failover run` reads. Errors: as for Engine()."""
        return cls(Path(path), workers=workers)

    # Life.

    def start(self) -> None:
        """Takes the state directory, starts the threads and begins to watch. An engine starts once. Blocks for milliseconds.

        Errors: StateError when it was started before, and when another engine holds the state directory (then retriable);
        InvalidArgument when a check of kind "host" asks for a function that is neither registered nor offered; SystemFault.
        """
        self._core.start()

    def stop(self, timeout: Optional[float] = _STOP_TIMEOUT) -> None:
        """Stops: a failover before its point of no return is undone, one behind it finishes its step; then every thread of the engine
        ends. Afterwards "engine_stopped" was the last event, and no handler runs. A second stop does nothing.

        timeout: seconds to wait; None: without end. Ctrl-C interrupts the wait, not the stopping.
        Errors: TypeError and InvalidArgument, here and wherever there is a timeout, for what is no number of seconds from 0 on; Timeout (it is
        still stopping, or a handler has not returned: call again); Reentrant in a handler, a check or an action;
        HandlerError when handlers raised.
        """
        self._core.stop(timeout_of(timeout))
        self._core.raise_errors()

    def request_stop(self) -> None:
        """Begins to stop and returns at once. For handlers, checks, actions and signal handlers. Does nothing on a closed engine."""
        self._core.request_stop()

    def close(self, timeout: Optional[float] = _STOP_TIMEOUT) -> None:
        """Stops as stop() does, and frees everything. The program can still read events that it has not read. Closing again does
        nothing.

        Errors: as for stop(). After Timeout the engine goes on stopping: close it again.
        """
        limit = timeout_of(timeout)
        if self._core.forked:
            self._finalizer.detach()
            return
        self._core.stop(limit)
        self._finalizer.detach()
        self._core.close()
        self._core.raise_errors()

    def __enter__(self) -> Engine:
        try:
            self.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: Optional[Type[BaseException]], raised: Optional[BaseException], trace: Optional[TracebackType]
    ) -> None:
        try:
            self.close()
        except HandlerError:
            # Each was logged. What ends the block is not hidden by it.
            if raised is None:
                raise

    async def __aenter__(self) -> Engine:
        return await asyncio.to_thread(self.__enter__)

    async def __aexit__(
        self, kind: Optional[Type[BaseException]], raised: Optional[BaseException], trace: Optional[TracebackType]
    ) -> None:
        await asyncio.to_thread(self.__exit__, kind, raised, trace)

    def __repr__(self) -> str:
        return f"<failover.Engine at {id(self):#x}>"

    # Events.

    def events(self) -> Events:
        """The events, for `for` and `async for`, until the engine has stopped. The engine keeps them from its creation on, 1024 of
        each sort: a slow reader loses single observations first, and an event of kind "overflow" reports this.

        An engine has one consumer: events() and next_event() share what there is, and exclude on_event(). Ctrl-C works while waiting.
        `async for` may be cancelled at any time and loses nothing by it.
        Errors, when an event is asked for: StateError when there are handlers; Forked.
        """
        return Events(self, self._core)

    def next_event(self, timeout: Optional[float] = None) -> Optional[Event]:
        """The next event, waiting up to `timeout` seconds (None: without end; 0: not at all); None when none came in time.

        Errors: StateError after the last event, and when there are handlers; Forked.
        """
        limit = timeout_of(timeout)
        queue = self._core.reader()
        event = queue.get(limit)
        if event is None and queue.over:
            raise error(Code.STATE, "the engine has stopped: that was the last event")
        return event

    def wait(self, *kinds: str, service: Optional[str] = None, timeout: Optional[float] = None) -> Event:
        """Takes events until one of these kinds (of this service) comes, and returns it. It drops the others.

        timeout: seconds for all of it; None: without end.
        Errors: Timeout; StateError when the engine stopped before, and when there are handlers.
        """
        limit = timeout_of(timeout)
        end = None if limit is None else time.monotonic() + limit
        while True:
            event = self.next_event(None if end is None else max(0.0, end - time.monotonic()))
            if event is None:
                raise error(Code.TIMEOUT, f"no event of kind {', '.join(kinds) or 'any'} came within {timeout} s")
            if (not kinds or event.kind in kinds) and service in (None, event.service):
                return event

    def on_event(self, handler: HandlerT) -> HandlerT:
        """Registers `handler` for every event, also as a decorator. One daemon thread of this package calls it, one event at a
        time, in order. If it is registered before the start, it misses no event. Several handlers are called one after another.

        A handler may call everything but stop() and close(). While it does not return, events pile up as for a slow reader. Its
        exceptions are logged, and raised from stop() or close() as HandlerError.
        Errors: StateError when events() or next_event() is used.
        """
        self._core.add_handler(handler)
        return handler

    def status(self, service: Optional[str] = None) -> Status:
        """The present state of everything, or of one service: its cost does not grow with the number of services. Does not block.

        Errors: InvalidArgument for an unknown service.
        """
        document: Dict[str, Any] = json.loads(self._of_status(service, lib.failover_status_json))
        return Status.from_json(document)

    def metrics_text(self, service: Optional[str] = None, *, details: bool = False) -> str:
        """The numbers of everything, or of one service, in Prometheus' text format. "details": also what each server, each check and
        each circuit breaker says by itself.

        Errors: as for status().
        """
        return self._of_status(service, lambda handle: lib.failover_status_metrics(handle, bool(details))).decode()

    def _of_status(self, service: Optional[str], render: Callable[[StatusHandle], bytes]) -> bytes:
        handle = StatusHandle()
        if service is None:
            self._core.call(lib.failover_engine_status, byref(handle))
        else:
            self._core.call(lib.failover_engine_status_of, text(service, "service"), byref(handle))
        try:
            return render(handle)
        finally:
            lib.failover_status_free(handle)

    # Reports.

    def check_all(self, timeout: Optional[float] = _LOOK_TIMEOUT) -> CheckSummary:
        """Runs every check once, and then says whether a failover of each service would go through: what `failover check` does. Asks each
        server over SQL and its checks, each host over SSH, each load balancer, and who answers through the route. Works before the start and
        beside a running engine, and changes nothing. Of checks that the program answers counts what it last told the running engine; before the start they are "unknown", and no failure.

        timeout: seconds for all of it; None: without end. An engine runs one report at a time: a second call waits for the first.
        stop() ends it, and Ctrl-C the wait. With asyncio: `await asyncio.to_thread(engine.check_all)`.
        Errors: Timeout if the time was not enough (there is no half report); StateError when the engine was stopped, also meanwhile.
        """
        return CheckSummary.from_json(self._report(lib.failover_engine_check_all, _millis(timeout)))

    def doctor(self, service: Optional[str] = None, *, timeout: Optional[float] = _LOOK_TIMEOUT) -> DoctorReport:
        """What would hurt a failover of one service, why, and what mends it: what `failover doctor` does. service: None where there is one.

        Errors: as for check_all(); InvalidArgument for an unknown service, and for None where there are several.
        """
        return DoctorReport.from_json(self._report(lib.failover_engine_doctor, text(service, "service"), _millis(timeout)))

    def config(self) -> Dict[str, Any]:
        """The configuration in force, that of the last reload, with every default filled in; secrets are masked or named by where they are
        found. Does not block."""
        return self._report_now(lib.failover_engine_config)

    def _report_now(self, function: Any, *arguments: Any) -> Dict[str, Any]:
        handle = ReportHandle()
        self._core.call(function, *arguments, byref(handle))
        return read(handle)

    def _report(self, function: Any, *arguments: Any) -> Dict[str, Any]:
        """Runs on a thread of its own, so that Ctrl-C works meanwhile."""
        answers: List[Dict[str, Any]] = []
        raised: List[BaseException] = []

        def ask() -> None:
            try:
                answers.append(self._report_now(function, *arguments))
            except BaseException as wrong:
                raised.append(wrong)

        asker = threading.Thread(target=ask, name="failover-report", daemon=True)
        try:
            asker.start()
        except RuntimeError as no_thread:
            raise error(Code.SYSTEM, f"no thread to ask for a report: {no_thread}") from no_thread
        asker.join()
        if raised:
            raise raised[0]
        return answers[0]

    # The program's own checks and actions.

    def check(self, name: str) -> Callable[[CheckT], CheckT]:
        """Has checks of kind "host" called `name` (their "function", or their own name) answered by the decorated function. It is called
        with a Task, on a thread of this package, several at once but for one server one at a time, and returns True (up), False
        (down: the only answer that counts as a failure) or an Answer; None, anything else and an exception are "unknown". Give its
        own calls a time-out below task.remaining: no answer by the deadline is unknown, too.

        Every name that checks ask for has to be registered or offered before the start; status().host_functions has them. Once the
        engine runs, what a later configuration asks for can be registered for reload().
        Errors: TypeError for what cannot be called with one argument; InvalidArgument before the start, when no check has that name;
        StateError after the stop.
        """

        if not isinstance(name, str):
            raise TypeError('a check needs its name: @engine.check("name")')

        def register(function: CheckT) -> CheckT:
            _callable(function, f'check "{name}"')
            self._core.offer_check(name)
            self._core.checks[name] = function
            return function

        return register

    def offer_check(self, name: str) -> None:
        """Has checks of kind "host" called `name` come as events of kind "task_check", to be answered by complete_task(); one that is not
        answered by its deadline is unknown. Errors: as for check()."""
        self._core.offer_check(name)

    def action(self, step: str) -> Callable[[ActionT], ActionT]:
        """Has the step `step` of every service carried out by the decorated function: "promote" instead of the engine's own way; "fence" where
        fence.command would be asked, so it must cut power or volume; "pre_checks" before what is
        configured, and "route_out", "route_restore", "route_in" beside it. It is called with a Task, on a thread of this package, and returns Done, NoEffect or Unknown (or one
        of them with a detail); anything else and an exception are Unknown.

        An action may be asked again with the same generation: (task.generation, step) is its idempotency key, and one with a lower
        generation than the highest seen must be refused.
        Errors: StateError once started; InvalidArgument for any other step; TypeError for what cannot be called with one argument.
        """

        if not isinstance(step, str):
            raise TypeError('an action needs its step: @engine.action("promote")')

        def register(function: ActionT) -> ActionT:
            _callable(function, f'action "{step}"')
            self._core.offer_action(step)
            self._core.actions[step] = function
            return function

        return register

    def offer_action(self, step: str) -> None:
        """Has the step `step` come as an event of kind "task_action", to be answered by complete_task(). Errors: as for action()."""
        self._core.offer_action(step)

    def complete_task(self, task: int, answer: Union[Answer, Done, NoEffect, Unknown]) -> None:
        """Answers a task that no function is registered for: task is the "task_id" of its event.

        Errors: UnknownTask for a late, repeated or invented task: without any effect.
        """
        given = answer if isinstance(answer, Answer) else action_answer(answer)
        self._core.complete_task(whole(task, "task", 0, 2**64 - 1), int(given.result), given.detail)

    # Commands. Each blocks for milliseconds, ten seconds at most.

    def confirm(self, service: str) -> None:
        """Confirms the failover of `service` that waits for an operator.

        Errors of every command: Rejected (the message says why), InvalidArgument for an unknown name, StateError when the engine does not
        run, Faulted, Timeout after ten seconds without an answer.
        """
        self._core.call(lib.failover_engine_confirm, text(service, "service"))

    def confirm_all(self) -> None:
        """Confirms every failover that waits for an operator. Errors: as for confirm()."""
        self._core.call(lib.failover_engine_confirm_all)

    def pause(
        self, service: Optional[str] = None, *, reason: Optional[str] = None, duration: Optional[float] = None
    ) -> None:
        """Watch, decide nothing: one service, or all. Outlives a restart.

        reason: one line of at most 500 characters, for status, events and journal. duration: seconds after which the pause ends by
        itself, 30 days at most; None: when it is resumed. An event of kind "operator_command" tells the end, which stands also
        after a restart. Pausing again replaces both.
        Errors: as for confirm(); InvalidArgument also for a reason or a duration out of bounds.
        """
        millis = _FOREVER if duration is None else round(seconds(duration, "duration") * 1000)
        if duration is not None and not 1 <= millis < _FOREVER:
            raise error(Code.INVALID_ARG, f"duration is {duration}; it is a number of seconds from 0.001 to 2592000 (30 days)")
        self._core.call(lib.failover_engine_pause_with, text(service, "service"), text(reason, "reason"), millis)

    def resume(self, service: Optional[str] = None) -> None:
        """Ends the pause of one service, or of all: everything is observed afresh first. Errors: as for confirm()."""
        self._core.call(lib.failover_engine_resume, text(service, "service"))

    def reset(self, service: str) -> None:
        """Returns `service` from manual_intervention or failed_over to watching, and ends its cooldown. Errors: as for
        confirm()."""
        self._core.call(lib.failover_engine_reset, text(service, "service"))

    def switchover(self, service: str, to: Optional[str] = None, *, at: Optional[datetime] = None) -> int:
        """Lets a healthy primary of `service` hand over to the server `to`, or to the best standby. Nothing is waived and no committed
        row is lost: where it cannot be proven that the standby has the whole log, nobody is promoted and the primary is started again.
        Returns the number of the failover when it has begun: the `generation` of its events, which tell the rest.

        at: begin at this moment, within the next 30 days; a datetime without a zone is local time. Returns 0 then. One whose moment
        passes while no engine runs is reported as missed and does not begin later.

        Errors: as for confirm(); Rejected with all that stands in the way.
        """
        at_ms = 0 if at is None else max(1, int(at.timestamp() * 1000))
        generation = c_uint64()
        name, standby = text(service, "service"), text(to, "to")
        self._core.call(lib.failover_engine_switchover, name, standby, at_ms, byref(generation))
        return generation.value

    def switchover_preflight(self, service: str, to: Optional[str] = None) -> Preflight:
        """Everything that is looked at before a switchover: what `failover switchover --dry-run` does. Changes nothing.

        Errors: as for confirm().
        """
        raw = self._report_now(lib.failover_engine_switchover_preflight, text(service, "service"), text(to, "to"))
        return Preflight.from_json(raw)

    def survived(
        self, service: str, *, xid: Optional[int] = None, lsn: Optional[str] = None, timeline: Optional[int] = None
    ) -> Survived:
        """Whether a commit whose answer nobody received survived the last failovers. Either xid, what pg_current_xact_id() said inside the
        transaction, with the timeline on which it ran where that is known; or lsn ("0/3000148") with its timeline: everything before it.
        Blocks up to 5 s where the primary does not answer. Changes nothing.

        Errors: InvalidArgument for an unknown service, one that is no database, and arguments that name no commit; State when the engine was
        never started; Reentrant on a thread of the engine.
        """
        name = text(service, "service")
        of = 0 if timeline is None else whole(timeline, "timeline", 1, 2**32 - 1)
        if (xid is None) == (lsn is None) or (lsn is not None and not of):
            raise error(Code.INVALID_ARG, "either xid, or lsn with its timeline")
        if lsn is None:
            number = whole(xid, "xid", 3, 2**64 - 1)
            return Survived.from_json(self._report(lib.failover_engine_survived_xid, name, number, of))
        return Survived.from_json(self._report(lib.failover_engine_survived_lsn, name, text(lsn, "lsn"), of))

    def switchover_cancel(self, service: str) -> None:
        """Cancels the planned switchover of `service`. Errors: as for confirm(); Rejected also when none is planned."""
        self._core.call(lib.failover_engine_switchover_cancel, text(service, "service"))

    def force(self, service: str, to: Optional[str] = None, accept_loss: Optional[int] = None) -> int:
        """Begins a failover of `service` now, from every state but one in flight: to the server `to`, or to the best one, losing
        `accept_loss` bytes at most (None: the configured limit). A database's healthy primary is not forced away without a loss that is
        accepted: see switchover(). Returns the number of the failover when it has begun: the
        `generation` of its events, which tell the rest.

        Errors: as for confirm().
        """
        loss = _LOSS_CONFIGURED if accept_loss is None else whole(accept_loss, "accept_loss", 0, _LOSS_CONFIGURED)
        generation = c_uint64()
        self._core.call(lib.failover_engine_force_with, text(service, "service"), text(to, "to"), loss, byref(generation))
        return generation.value

    def adopt(self, service: str, server: str) -> None:
        """Says that `server`, which takes writes, is the primary of `service` from here on: the way out after the event other_branch.
        Nothing is promoted, stopped or fenced; the traffic follows it.

        Errors: as for confirm(); Rejected also while the server takes no writes, or another one takes them as well.
        """
        self._core.call(lib.failover_engine_adopt, text(service, "service"), text(server, "server"))

    def cordon(self, service: str, server: str) -> None:
        """No failover and no order promotes `server` of `service` from here on, until uncordon(). The engine observes it as before,
        and its log counts. A cordon outlives restart and reload.

        Errors: as for confirm(); Rejected also while a failover is in flight.
        """
        self._core.call(lib.failover_engine_cordon, text(service, "service"), text(server, "server"))

    def uncordon(self, service: str, server: str) -> None:
        """Takes cordon() back. Errors: as for confirm(); Rejected also when it is not cordoned."""
        self._core.call(lib.failover_engine_uncordon, text(service, "service"), text(server, "server"))

    def rejoin(self, service: str, server: str, dry_run: bool = False, rebuild: bool = False) -> None:
        """Begins to bring `server` of `service`, a former primary that is stopped, back as a standby of the present primary: as it is where
        its log has nothing that the new primary lacks, else by pg_rewind, once for each failover. What only its log has is counted,
        reported (event lost_transactions) and kept before anything is changed; the event rejoin_ended and the status tell how it ends.
        With `dry_run` nothing is changed. With `rebuild` it comes back by a new copy of the primary's data instead: its own configuration is
        kept, and its data directory under another name (event old_data_kept).

        Errors: as for confirm(); Rejected also while a failover is in flight, while the server runs or is the primary, and without SSH to
        both hosts.
        """
        order = lib.failover_engine_rebuild if rebuild else lib.failover_engine_rejoin
        self._core.call(order, text(service, "service"), text(server, "server"), int(dry_run))

    def clone(self, service: str, server: str, dry_run: bool = False) -> None:
        """Begins to make `server` of `service`, in whose data directory nothing is, a standby of the present primary by a first copy of its
        data. The event copy_progress tells how far it is, rejoin_ended and the status how it ends. With `dry_run` nothing is changed.

        Errors: as for rejoin().
        """
        self._core.call(lib.failover_engine_clone, text(service, "service"), text(server, "server"), int(dry_run))

    def reload(self, config: Config) -> None:
        """Takes another configuration while the engine runs: a dict, JSON, or the path of a file in TOML or JSON. Counters
        restart. A configuration with mistakes changes nothing. Register or offer before what its checks of kind "host" ask for.

        Errors: ConfigError; InvalidArgument when a check asks for a function that nobody answers; StateError when something differs that is fixed at start (state_dir) or the engine does not run; Rejected
        while a failover is in flight; ConfigError also when the file cannot be read.
        """
        if isinstance(config, os.PathLike):
            self._core.call(lib.failover_engine_reload_from_file, path_of(config))
            return
        document = document_of(config)
        self._core.call(lib.failover_engine_reload, document, len(document))

    def report_outcome(self, service: str, outcome: Outcome, server: Optional[str] = None) -> None:
        """Tells how a call of the program's own to `server` of `service` ended; server None is the primary. One more observer: a call that
        timed out, was refused or reset makes the engine look at once; it never decides alone. May be called for every call.
        Does not block.

        Errors: InvalidArgument for an unknown name or outcome, StateError when the engine does not run.
        """
        number = whole(outcome, "outcome", 0, 2**31 - 1)
        self._core.call(lib.failover_engine_report_outcome, text(service, "service"), text(server, "server"), number)


def _millis(timeout: Optional[float]) -> int:
    limit = timeout_of(timeout)
    return _FOREVER if limit is None else min(_FOREVER - 1, int(limit * 1000))


def _callable(function: Any, what: str) -> None:
    if inspect.iscoroutinefunction(function):
        raise TypeError(f"the function of {what} is async: it runs on a thread; use asyncio.run_coroutine_threadsafe in it")
    try:
        inspect.signature(function).bind(None)
    except TypeError as wrong:
        raise TypeError(f"the function of {what} is called with one argument, a Task: {wrong}") from None
    except ValueError:
        # A builtin without a signature.
        return
