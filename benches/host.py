"""What a Python program waits for an event: prints numbers, asserts nothing. FAILOVER_LIBRARY names the library."""

import tempfile
import time
from datetime import datetime, timezone

from failover import Engine, EventKind

EVENTS = 4000
SERVERS = 16


def config(folder: str) -> dict:
    checks = {"kind": "scripted", "answers": ["up"], "timeout": "900ms", "interval": "50ms", "fast_interval": "20ms"}
    servers = [
        {"name": f"web{at}", "role": "standby" if at else "primary", "host": f"127.0.0.{at + 1}"} for at in range(SERVERS)
    ]
    asked = [{"name": f"page{at}", "server": f"web{at}", **checks} for at in range(SERVERS)]
    return {
        "version": 1,
        "state_dir": folder,
        "services": [{"name": "site", "kind": "application", "servers": servers, "checks": asked}],
    }


def main() -> None:
    with tempfile.TemporaryDirectory() as folder, Engine(config(folder)) as engine:
        took = []
        for event in engine.events():
            here = datetime.now(timezone.utc)
            if event.kind == EventKind.OBSERVED:
                took.append((here - event.time).total_seconds())
            if len(took) == EVENTS:
                break
        took.sort()
        began = time.perf_counter()
        for _ in range(1000):
            engine.status()
        status = (time.perf_counter() - began) / 1000
    p50, p99 = took[EVENTS // 2] * 1e6, took[EVENTS * 99 // 100] * 1e6
    print(f"observation to host, Python iterator        p50 {p50:7.1f} µs   p99 {p99:7.1f} µs   of {EVENTS}")
    print(f"status in Python {status * 1e6:.0f} µs")


main()
