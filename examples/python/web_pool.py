#!/usr/bin/env python3
"""A web application whose connection pool follows the primary.

    web_pool.py CONFIG --host LB --port 5432 --user app --database app     GET http://127.0.0.1:8000/
    web_pool.py --lab target/debug/examples/lab                            a pair of its own, and a real failover

The engine runs inside the application's process. Its events steer the pool: with "failover_started" nothing new is begun and what is
idle is closed; with "failover_completed" the pool comes back at a steady rate with jitter, so that the new primary is not met by
everybody at once. And the application tells the engine how its own calls ended: one more observer of the primary.
"""

from __future__ import annotations

import argparse
import collections
import json
import logging
import random
import sys
import threading
import time
import urllib.error
import urllib.request
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Deque, Iterator, List, Optional, Tuple

from failover import Engine, Event, EventKind, FailoverError, Outcome
from lab import Lab

try:
    import psycopg
except ImportError:
    sys.exit("web_pool.py needs psycopg: pip install 'psycopg[binary]'")

LOG = logging.getLogger("web_pool")
SIZE = 10
PATIENCE = 5.0  # seconds that a request waits for a connection
RATE = 20.0  # new connections a second, after a failover


class Unavailable(Exception):
    """No connection within PATIENCE: the client is told to come back."""


class Pool:
    """Connections to the load balancer's address, which leads to the primary."""

    def __init__(self, **where: Any) -> None:
        self._where = where
        self._changed = threading.Condition()
        self._idle: Deque[Tuple[int, Any]] = collections.deque()
        self._out = 0
        self._held = False
        self._epoch = 0
        self._paced_until = 0.0
        self._next_slot = 0.0

    def hold(self) -> None:
        """Nothing new is begun, what is idle is closed, and what is out is closed when it comes back: it leads to the old primary."""
        with self._changed:
            self._held = True
            self._epoch += 1
            idle, self._idle = self._idle, collections.deque()
        for _, connection in idle:
            connection.close()

    def resume(self) -> None:
        """Open again: RATE new connections a second, until all of them are there."""
        with self._changed:
            self._held = False
            self._next_slot = time.monotonic()
            self._paced_until = self._next_slot + 2 * SIZE / RATE
            self._changed.notify_all()

    @contextmanager
    def connection(self) -> Iterator[Any]:
        """A connection for one request. Errors: Unavailable; psycopg's own."""
        epoch, connection, wait = self._take()
        healthy = False
        try:
            if connection is None:
                time.sleep(wait)
                connection = psycopg.connect(autocommit=True, connect_timeout=3, **self._where)
            yield connection
            healthy = not connection.closed
        finally:
            with self._changed:
                self._out -= 1
                keep = healthy and epoch == self._epoch and not self._held
                if keep:
                    self._idle.append((epoch, connection))
                self._changed.notify()
            if connection is not None and not keep:
                connection.close()

    def _take(self) -> Tuple[int, Optional[Any], float]:
        """An idle connection, or the right to make one after so many seconds."""
        with self._changed:
            if not self._changed.wait_for(lambda: not self._held and (self._idle or self._out < SIZE), PATIENCE):
                raise Unavailable
            self._out += 1
            if self._idle:
                epoch, connection = self._idle.pop()
                return epoch, connection, 0.0
            now = time.monotonic()
            if now >= self._paced_until:
                return self._epoch, None, 0.0
            # Jitter: several processes like this one must not keep step.
            self._next_slot = max(now, self._next_slot) + random.uniform(0.5, 1.5) / RATE
            return self._epoch, None, self._next_slot - now


def outcome_of(error: BaseException) -> Outcome:
    """What a failed call says about the server."""
    state = getattr(error, "sqlstate", None)
    text = str(error).lower()
    if isinstance(error, TimeoutError) or "timeout" in text:
        return Outcome.TIMEOUT
    if "refused" in text:
        return Outcome.REFUSED
    if state is not None:
        # Starting, stopping, no slot left, read-only; anything else is the statement's own fault.
        return Outcome.REJECTED if state.startswith("57P") or state in ("53300", "25006") else Outcome.ERROR
    return Outcome.RESET if isinstance(error, psycopg.OperationalError) else Outcome.ERROR


class Application:
    """What the web server and the engine share."""

    def __init__(self, engine: Engine, service: str, pool: Pool) -> None:
        self.engine = engine
        self.service = service
        self.pool = pool
        self.completed = threading.Event()
        engine.on_event(self.follow)

    def follow(self, event: Event) -> None:
        """Runs on a thread of the engine's binding, one event at a time."""
        if event.service != self.service:
            return
        if event.kind in (EventKind.FAILOVER_STARTED, EventKind.FAILOVER_RESUMED):
            LOG.warning("hold: %s", event.message)
            self.pool.hold()
        elif event.kind in (EventKind.FAILOVER_COMPLETED, EventKind.ROLLED_BACK):
            LOG.warning("resume: %s", event.message)
            self.pool.resume()
            if event.kind == EventKind.FAILOVER_COMPLETED:
                self.completed.set()
        elif event.kind == EventKind.MANUAL_INTERVENTION:
            # The pool stays as it is: what a person decides is told by later events.
            LOG.error("a person has to come: %s", event.message)

    def ask(self) -> int:
        """The port of the server that took a write."""
        try:
            with self.pool.connection() as connection:
                row = connection.execute(
                    "WITH one AS (INSERT INTO numbers VALUES (1) RETURNING 1) SELECT inet_server_port() FROM one"
                ).fetchone()
        except psycopg.Error as error:
            self.report(outcome_of(error))
            raise
        self.report(Outcome.OK)
        return int(row[0])

    def report(self, outcome: Outcome) -> None:
        try:
            self.engine.report_outcome(self.service, outcome)
        except FailoverError:
            # It is stopping, or does not know yet who is primary.
            return


def web_server(application: Application, port: int) -> ThreadingHTTPServer:
    class Requests(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.path == "/health":
                service = application.engine.status().service(application.service)
                self.answer(200, {"state": service.state, "primary": service.primary, "health": service.health})
                return
            try:
                self.answer(200, {"server": application.ask()})
            except (psycopg.Error, Unavailable) as error:
                self.answer(503, {"error": str(error) or "no connection"})

        def answer(self, code: int, body: Any) -> None:
            data = json.dumps(body).encode()
            self.send_response(code)
            if code == 503:
                self.send_header("Retry-After", "1")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, format: str, *arguments: Any) -> None:
            LOG.debug(format, *arguments)

    server = ThreadingHTTPServer(("127.0.0.1", port), Requests)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, name="web", daemon=True).start()
    return server


class Visitors:
    """Clients of the web application, and what they were told."""

    def __init__(self, url: str, number: int) -> None:
        self._url = url
        self._told: Deque[Tuple[float, int, Optional[int]]] = collections.deque(maxlen=100_000)
        self._enough = threading.Event()
        self._threads = [threading.Thread(target=self._visit, daemon=True) for _ in range(number)]
        for thread in self._threads:
            thread.start()

    def _visit(self) -> None:
        while not self._enough.wait(0.02):
            try:
                with urllib.request.urlopen(self._url, timeout=10) as answer:
                    self._told.append((time.monotonic(), answer.status, json.load(answer)["server"]))
            except urllib.error.HTTPError as refused:
                self._told.append((time.monotonic(), refused.code, None))

    def served_by(self, port: int) -> int:
        """How often this server answered."""
        return sum(1 for _, _, server in list(self._told) if server == port)

    def stop(self) -> List[Tuple[float, int, Optional[int]]]:
        self._enough.set()
        for thread in self._threads:
            thread.join()
        return list(self._told)


def wait_for(what: str, condition: Any, seconds: float = 120.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            sys.exit(f"web_pool.py: {what} did not come within {seconds:.0f} s")
        time.sleep(0.05)


def show(lab: Lab) -> None:
    engine = Engine(lab.config)
    host, port = lab.front
    pool = Pool(host=host, port=port, user=lab.user, dbname=lab.database)
    application = Application(engine, lab.service, pool)
    old, new = lab.servers["db1"][1], lab.servers["db2"][1]
    with engine:
        server = web_server(application, 0)
        visitors = Visitors(f"http://127.0.0.1:{server.server_port}/", 8)
        wait_for("a forecast", lambda: engine.status().service(lab.service).forecast.would_fail_over)
        wait_for("traffic", lambda: visitors.served_by(old) > 100)
        print("ready:", engine.status().service(lab.service).forecast.message)
        killed = time.monotonic()
        print("kill db1:", lab.command("kill db1"))
        wait_for("the failover", application.completed.is_set)
        wait_for("traffic on the new primary", lambda: visitors.served_by(new) > 100)
        told = visitors.stop()
        server.shutdown()
        server.server_close()
        traffic = engine.status().service(lab.service).server("db1").raw.get("traffic")
    pool.hold()
    refused = sum(1 for at, code, _ in told if at > killed and code != 200)
    first = min(at for at, _, who in told if who == new)
    print(f"reported of the old primary: {traffic}")
    print(f"{len(told)} requests, {refused} told to come back; the new primary served again {first - killed:.2f} s after the kill")


def main() -> None:
    parser = argparse.ArgumentParser(description="A web application whose connection pool follows the primary.")
    parser.add_argument("config", nargs="?", type=Path, help="the engine's configuration")
    parser.add_argument("--lab", help="show a failover with this lab")
    parser.add_argument("--service", default="orders")
    parser.add_argument("--listen", type=int, default=8000, help="port of the web application")
    for name, default in (("host", "127.0.0.1"), ("port", "5432"), ("user", "app"), ("database", "app")):
        parser.add_argument(f"--{name}", default=default, help=f"of the load balancer's address (default: {default})")
    given = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s: %(message)s")
    if given.lab:
        with Lab(given.lab) as lab:
            show(lab)
        return
    if given.config is None:
        parser.error("a configuration, or --lab")
    engine = Engine(given.config)
    pool = Pool(host=given.host, port=given.port, user=given.user, dbname=given.database)
    with engine:
        # Events are kept from the making of the engine on: the pool misses none of them.
        web_server(Application(engine, given.service, pool), given.listen)
        print(f"http://127.0.0.1:{given.listen}/ until Ctrl-C")
        try:
            threading.Event().wait()
        except KeyboardInterrupt:
            print("stopping")


if __name__ == "__main__":
    main()
