#!/usr/bin/env python3
"""A program with calls of its own to an application that the engine fails over: it takes part in the step that moves the traffic.

    application.py CONFIG --server app1=10.0.0.21:80 --server app2=10.0.0.22:80
    application.py --lab target/debug/examples/lab                             servers of its own, and a real failover

What the engine does on the load balancers, the program does for its own calls, in the same step: "route_out" stops them, "route_in" sends
them to the server that takes over, "route_restore" back. Every call is reported to the engine: one more observer of the server.
"""

from __future__ import annotations

import argparse
import http.client
import sys
import threading
import time
from pathlib import Path
from typing import Callable, Dict, Optional, Tuple, Union

from failover import Done, Engine, Event, EventKind, NoEffect, Outcome, Severity, Task
from lab import Lab

EVERY = 0.2  # seconds between two calls
LIMIT = 1.0  # seconds that a call may take

Places = Dict[str, Tuple[str, int]]


class Route:
    """Where the program's own calls go: nowhere while no server is known to be the active one."""

    def __init__(self, places: Places) -> None:
        self._places = places
        self._lock = threading.Lock()
        self._active: Optional[str] = None
        self._generation = 0

    def learn(self, server: Optional[str]) -> None:
        """Who is active before the first failover: the status knows."""
        with self._lock:
            if self._generation == 0 and server in self._places:
                self._active = server

    def take_from(self, task: Task) -> Union[Done, NoEffect]:
        """The step "route_out"."""
        with self._lock:
            if self._is_outdated(task):
                return NoEffect("there was a later failover")
            if self._active == task.server:
                self._active = None
            return Done(f"own calls to {task.server} have stopped")

    def send_to(self, task: Task) -> Union[Done, NoEffect]:
        """The steps "route_in" and "route_restore". Asked again it finds its work done."""
        with self._lock:
            if self._is_outdated(task) or task.server not in self._places:
                return NoEffect("there was a later failover, or no address was given")
            self._active = task.server
            return Done(f"own calls go to {task.server}")

    def _is_outdated(self, task: Task) -> bool:
        """A lower generation comes from an engine that is not in charge any more."""
        self._generation = max(self._generation, task.generation)
        return task.generation < self._generation

    def active(self) -> Optional[Tuple[str, Tuple[str, int]]]:
        with self._lock:
            return None if self._active is None else (self._active, self._places[self._active])


def call(place: Tuple[str, int]) -> Tuple[Outcome, str]:
    """A call of the program's own: what came of it, and who answered."""
    connection = http.client.HTTPConnection(*place, timeout=LIMIT)
    try:
        connection.request("GET", "/")
        answer = connection.getresponse()
        answer.read()
        who = answer.getheader("X-Server", "")
        return (Outcome.OK if answer.status == 200 else Outcome.REJECTED), who
    except TimeoutError:
        return Outcome.TIMEOUT, ""
    except ConnectionRefusedError:
        return Outcome.REFUSED, ""
    except (ConnectionError, http.client.HTTPException):
        return Outcome.RESET, ""
    except OSError:
        return Outcome.ERROR, ""
    finally:
        connection.close()


class Application:
    """The engine, and the program's calls beside it."""

    def __init__(self, config: Path, places: Places) -> None:
        self.route = Route(places)
        self.moved = threading.Event()
        self.engine = Engine(config)
        self.engine.action("route_out")(self.route.take_from)
        self.engine.action("route_in")(self.route.send_to)
        self.engine.action("route_restore")(self.route.send_to)
        self.engine.on_event(self._tell)

    def _tell(self, event: Event) -> None:
        if event.severity >= Severity.INFO:
            print(f"{event.kind}: {event.message}", flush=True)
        if event.kind == EventKind.FAILOVER_COMPLETED:
            self.moved.set()

    def call(self) -> str:
        """One call to whoever is active, reported; who answered it as it should be, or nobody."""
        service = self.engine.status().services[0]
        self.route.learn(service.primary)
        active = self.route.active()
        if active is None:
            return ""
        server, place = active
        outcome, who = call(place)
        self.engine.report_outcome(service.name, outcome, server=server)
        return who if outcome is Outcome.OK else ""


def run(application: Application) -> None:
    """Calls, and prints whenever somebody else answers, until Ctrl-C."""
    before = ""
    while True:
        who = application.call()
        if who and who != before:
            print(f"answered by {who}", flush=True)
            before = who
        time.sleep(EVERY)


def prove(application: Application, lab: Lab) -> None:
    """Kills the active server and waits until everybody is served by the other one."""
    until = time.monotonic() + 120

    def wait(what: str, asked: Callable[[], bool]) -> None:
        while not asked():
            if time.monotonic() > until:
                sys.exit(f"application.py: {what} never came")
            time.sleep(EVERY / 4)

    wait("app1", lambda: application.call() == "app1")
    wait("a standby", lambda: application.engine.status().services[0].forecast.would_fail_over)
    print("kill app1:", lab.command("kill app1"), flush=True)
    wait("app2", lambda: application.call() == "app2")
    print("own calls are answered by app2", flush=True)
    if not application.moved.wait(60):
        sys.exit("application.py: the failover did not complete")
    through = lab.command("answers")
    print(f"through the load balancers: {through}")
    if through != "app2 app2":
        sys.exit("application.py: the load balancers did not follow")


def main() -> None:
    parser = argparse.ArgumentParser(description="Follows an application, with calls of the program's own.")
    parser.add_argument("config", nargs="?", type=Path, help="the engine's configuration")
    parser.add_argument("--server", action="append", default=[], metavar="NAME=HOST:PORT", help="where a server is")
    parser.add_argument("--lab", help="show a failover with this lab")
    given = parser.parse_args()
    if given.lab:
        with Lab(given.lab, "application") as lab:
            application = Application(lab.config, lab.servers)
            with application.engine:
                prove(application, lab)
        return
    if given.config is None:
        parser.error("a configuration, or --lab")
    places: Places = {}
    for text in given.server:
        name, _, place = text.partition("=")
        host, _, port = place.rpartition(":")
        places[name] = (host, int(port))
    application = Application(given.config, places)
    with application.engine:
        try:
            run(application)
        except KeyboardInterrupt:
            print("stopped")


if __name__ == "__main__":
    main()
