"""The checks and actions of the program itself: their tasks and their answers."""

from __future__ import annotations

import time
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, Callable, Dict, Optional, Type, Union

from .events import Event

__all__ = ["Answer", "Done", "NoEffect", "Outcome", "Result", "Task", "TaskResult", "Unknown"]


class TaskResult(IntEnum):
    """The results of a task, by the numbers of the C interface."""

    UP = 1
    IMPAIRED = 2
    DOWN = 3
    UNKNOWN = 4
    DONE = 5
    NO_EFFECT = 6


class Outcome(IntEnum):
    """The outcome of a call of the program to a server: for Engine.report_outcome."""

    OK = 1
    """It was served as it should be."""
    TIMEOUT = 2
    """No answer came within the program's own time."""
    REFUSED = 3
    """The connection was refused."""
    RESET = 4
    """The connection ended in the middle of the call."""
    REJECTED = 5
    """The server answered that it does not serve now: starting, stopping, no slot left, read-only."""
    ERROR = 6
    """Anything else: says nothing about the server."""


@dataclass(frozen=True)
class Task:
    """The task of a check or an action.

    id: for Engine.complete_task. name: the check's function, or the step. service, server: what it is about. generation: of an action,
    the failover it belongs to; (generation, step) is the idempotency key: asked again with the same one, find the work done; asked
    with a lower one than the highest seen, refuse. deadline: of time.monotonic(), in seconds; a later answer changes nothing.
    host, port: those of the server by configuration.
    """

    id: int
    name: str
    service: Optional[str]
    server: Optional[str]
    generation: int
    deadline: float
    host: Optional[str] = None
    port: Optional[int] = None

    @property
    def remaining(self) -> float:
        """The seconds that are left; 0 after the deadline."""
        return max(0.0, self.deadline - time.monotonic())


@dataclass(frozen=True)
class Answer:
    """What a check found; detail is one line, 1024 characters at most."""

    result: TaskResult
    detail: str = ""

    @classmethod
    def up(cls, detail: str = "") -> Answer:
        """It answered, and the answer was right."""
        return cls(TaskResult.UP, detail)

    @classmethod
    def impaired(cls, detail: str = "") -> Answer:
        """It is proven to be alive, and does not serve."""
        return cls(TaskResult.IMPAIRED, detail)

    @classmethod
    def down(cls, detail: str = "") -> Answer:
        """It did not answer, or not as a healthy server does. Only this answer counts as a failure."""
        return cls(TaskResult.DOWN, detail)

    @classmethod
    def unknown(cls, detail: str = "") -> Answer:
        """It could not be asked."""
        return cls(TaskResult.UNKNOWN, detail)


@dataclass(frozen=True)
class Done:
    """The action did its work, and this is proven; for "fence" this means that power or volume was cut."""

    detail: str = ""


@dataclass(frozen=True)
class NoEffect:
    """The action failed, and it is proven that it had no effect."""

    detail: str = ""


@dataclass(frozen=True)
class Unknown:
    """The action failed, and may have had a part of its effect."""

    detail: str = ""


Result = Union[Done, NoEffect, Unknown, Type[Done], Type[NoEffect], Type[Unknown]]
CheckFunction = Callable[[Task], Union[Answer, bool, None]]
ActionFunction = Callable[[Task], Optional[Result]]

_RESULTS: Dict[type, TaskResult] = {Done: TaskResult.DONE, NoEffect: TaskResult.NO_EFFECT, Unknown: TaskResult.UNKNOWN}


def check_answer(value: Any) -> Answer:
    """The answer that a check function returned. Only True and Answer.up are good answers."""
    if isinstance(value, Answer):
        return value
    if value is True:
        return Answer.up()
    if value is False:
        return Answer.down()
    if value is None:
        return Answer.unknown("the check returned nothing")
    return Answer.unknown(f"the check returned {type(value).__name__}: True, False, None or an Answer is wanted")


def action_answer(value: Any) -> Answer:
    """The answer that an action function returned. Only Done is a success."""
    for kind, result in _RESULTS.items():
        if isinstance(value, kind):
            return Answer(result, str(getattr(value, "detail", "")))
        if value is kind:
            return Answer(result)
    what = "nothing" if value is None else type(value).__name__
    return Answer.unknown(f"the action returned {what}: Done, NoEffect or Unknown is wanted")


def task_of(event: Event) -> Task:
    """The task that an event of kind "task_check" or "task_action" asks for."""
    fields = event.fields
    return Task(
        id=int(fields["task_id"]),
        name=str(fields.get("step") or fields.get("function") or fields.get("check")),
        service=event.service,
        server=event.server,
        generation=event.generation,
        deadline=time.monotonic() + float(fields["deadline_ms"]) / 1000,
        host=event.host,
        port=event.port,
    )
