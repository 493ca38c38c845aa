#!/usr/bin/env python3
"""What `failover validate`, `check` and `doctor` say, inside a program: before it starts its engine, in a health page, in a deployment.

    preflight.py failover.toml [--service orders]
    preflight.py --lab target/debug/examples/lab        # with real servers of its own, one of which is stopped

Ends with 0 when a failover would go through, else with 1.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import List, Optional

import failover
from failover import Engine, Finding
from lab import Lab

# Every question to a server or a host has its own time limit; this one is over all of them.
PATIENCE = 60.0


def show(findings: List[Finding]) -> None:
    for finding in findings:
        what = "blocking" if finding.blocking else "warning"
        print(f"  {what} {finding.server or '-'} {finding.code}: {finding.message}")
        print(f"    why: {finding.why}\n    remedy: {finding.remedy}")


def preflight(config: Path, service: Optional[str] = None) -> bool:
    """Whether a failover would go through, with everything that is to be said."""
    validation = failover.validate(config)
    for problem in (*validation.errors, *validation.warnings):
        print(f"  {problem.path}: {problem.reason}; {problem.remedy}")
    if not validation.valid:
        return False
    # An engine that is not started asks as one does that runs.
    engine = Engine(config)
    try:
        if service is not None:
            report = engine.doctor(service, timeout=PATIENCE)
            print(f"{service}: {report.sentence}")
            show(report.findings)
            return report.ready
        summary = engine.check_all(PATIENCE)
        for check in summary.checks:
            print(f"  {check.server} {check.check}: {check.verdict} {check.message}")
        for name, sentence in summary.sentences.items():
            print(f"{name}: {sentence}")
        show(summary.readiness)
        return summary.passed
    finally:
        engine.close()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config", nargs="?", type=Path)
    parser.add_argument("--service")
    parser.add_argument("--lab", help="the program that starts a pair: cargo build --example lab")
    arguments = parser.parse_args()
    if arguments.lab is None:
        if arguments.config is None:
            parser.error("a configuration, or --lab")
        return 0 if preflight(arguments.config, arguments.service) else 1
    with Lab(arguments.lab) as lab:
        well = preflight(lab.config) and preflight(lab.config, lab.service)
        print(lab.command("stop db2"))
        ill = preflight(lab.config, lab.service)
    return 0 if well and not ill else 1


if __name__ == "__main__":
    sys.exit(main())
