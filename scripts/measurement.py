"""What the parts of the benchmark share: a command measured, and a table of targets."""

import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import click

GAUNTLET = str(Path(sys.executable).parent / "gauntlet")


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """One run of a command: wall and CPU seconds, and the peak memory of its largest process in
    GB."""

    seconds: float
    cpu_seconds: float
    peak_gigabytes: float


def measure(command: list[str], log: Path) -> Measurement:
    """Run a command to its end; raises when it fails."""
    begin = time.monotonic()
    with open(log, "w") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output)
        _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise click.ClickException(
            f"{' '.join(command)} ended with {process.returncode}; its output is in {log}"
        )
    return Measurement(
        seconds=time.monotonic() - begin,
        cpu_seconds=usage.ru_utime + usage.ru_stime,
        peak_gigabytes=usage.ru_maxrss / 1e6,
    )


def target_table(rows: list[tuple[str, str, str, bool]]) -> str:
    """What, measured, target ('' for none) and whether it is met, in Markdown."""
    lines = [
        f"| {a} | {b} | {c} | {('yes' if d else '**no**') if c else ''} |" for a, b, c, d in rows
    ]
    return "\n".join(["| what | measured | target | met |", "|---|---|---|---|", *lines])
