#!/usr/bin/env python3
"""Watches a service from asyncio, with a check of the program's own.

    watch_asyncio.py CONFIG                                  until Ctrl-C
    watch_asyncio.py --lab target/debug/examples/lab         a pair of its own, and a real failover

The configuration may have a check of kind "host" called "door" for any server; this program answers it:

    [[services.checks]]
    name = "door"
    server = "db1"
    kind = "host"
"""

from __future__ import annotations

import argparse
import asyncio
import socket
import sys
from pathlib import Path
from typing import Dict, Optional, Tuple

from failover import Answer, Engine, EventKind, Severity, Task
from lab import Lab

Places = Dict[str, Tuple[str, int]]
DOOR = '\n[[services.checks]]\nname = "door"\nserver = "db1"\nkind = "host"\n'


def answer_checks(engine: Engine, places: Places) -> None:
    if "door" not in engine.status().host_functions:
        return

    @engine.check("door")
    def door(task: Task) -> Answer:
        # On a thread of the binding, not in the loop: it may block, but not for longer than the task has.
        place = places.get(task.server or "")
        if place is None:
            return Answer.unknown(f"nobody said where {task.server} is")
        try:
            socket.create_connection(place, timeout=task.remaining * 0.9).close()
        except ConnectionRefusedError as refused:
            return Answer.down(str(refused))
        except OSError as error:
            return Answer.unknown(str(error))
        return Answer.up("the door is open")


async def tell_status(engine: Engine) -> None:
    while True:
        for service in engine.status().services:
            print(f"  {service.name}: {service.state}, primary {service.primary} ({service.health}); {service.forecast.message}")
        await asyncio.sleep(2)


async def ready(engine: Engine, service: str) -> None:
    """Waits until a failover would go through, and the check was answered."""
    while True:
        now = engine.status().service(service)
        if now.forecast.would_fail_over and any(
            check.name == "door" and check.verdict == "up" for check in now.server("db1").checks
        ):
            return
        await asyncio.sleep(0.1)


async def watch(config: Path, places: Places, lab: Optional[Lab]) -> None:
    engine = Engine(config)
    answer_checks(engine, places)
    async with engine:
        status = asyncio.ensure_future(tell_status(engine))
        killing = asyncio.ensure_future(kill_when_ready(engine, lab)) if lab else None
        try:
            completed = False
            async for event in engine.events():
                if event.severity >= Severity.INFO:
                    print(f"{event.time:%H:%M:%S.%f} {event.kind}: {event.message}")
                completed |= event.kind == EventKind.FAILOVER_COMPLETED
                if lab and completed and event.kind == EventKind.OBSERVED and event.fields["check"] == "door":
                    if event.fields["verdict"] == "down":
                        break
                if lab and event.kind in (EventKind.FAILOVER_FAILED, EventKind.MANUAL_INTERVENTION):
                    sys.exit(f"watch_asyncio.py: {event.message}")
        finally:
            status.cancel()
        if lab and killing:
            await killing
            now = engine.status().service(lab.service)
            door = next(check for check in now.server("db1").checks if check.name == "door")
            print(f"primary {now.primary}; the door of db1: {door.verdict} ({door.message})")
            if now.primary != "db2" or await asyncio.to_thread(lab.command, "primary db2") != "yes":
                sys.exit("watch_asyncio.py: the traffic did not follow")


async def kill_when_ready(engine: Engine, lab: Lab) -> None:
    await ready(engine, lab.service)
    print("kill db1:", await asyncio.to_thread(lab.command, "kill db1"))


def main() -> None:
    parser = argparse.ArgumentParser(description="Watches a service from asyncio, with a check of the program's own.")
    parser.add_argument("config", nargs="?", type=Path, help="the engine's configuration")
    parser.add_argument("--lab", help="show a failover with this lab")
    parser.add_argument("--door", action="append", default=[], metavar="SERVER=HOST:PORT", help="where the check finds a server")
    given = parser.parse_args()
    if given.lab:
        with Lab(given.lab) as lab:
            asyncio.run(asyncio.wait_for(watch(lab.config_with(DOOR), lab.servers, lab), 180))
        return
    if given.config is None:
        parser.error("a configuration, or --lab")
    places: Places = {}
    for door in given.door:
        server, _, place = door.partition("=")
        host, _, port = place.rpartition(":")
        places[server] = (host, int(port))
    try:
        asyncio.run(watch(given.config, places, None))
    except KeyboardInterrupt:
        print("stopped")


if __name__ == "__main__":
    main()
