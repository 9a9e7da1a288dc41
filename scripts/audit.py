"""Known advisories for the packages of the lock files, by pip-audit.

    python scripts/audit.py        # `make audit`

Asks PyPI, then OSV; the first that knows every package decides. Exit codes: 0 nothing is known, 1
there are advisories, 2 nothing was checked, because neither can be reached or a package is unknown
there.
"""

import json
import subprocess
import sys
from pathlib import Path
from typing import TypedDict

import click

LOCKS = sorted(Path(__file__).parents[1].glob("requirements*.lock"))
SERVICES = ("pypi", "osv")
PIP_AUDIT = (sys.executable, "-m", "pip_audit")
# `--strict`: otherwise a package that the service does not know passes.
OPTIONS = (
    *("--strict", "--disable-pip", "--require-hashes"),
    *("--format", "json", "--progress-spinner", "off", "--timeout", "20"),
)


class Advisory(TypedDict):
    id: str
    aliases: list[str]
    fix_versions: list[str]


class Dependency(TypedDict):
    name: str
    version: str
    vulns: list[Advisory]


def ask(service: str) -> list[Dependency] | str:
    """Every package with its advisories, or why the service could not tell."""
    files = [argument for lock in LOCKS for argument in ("--requirement", str(lock))]
    done = subprocess.run(
        [*PIP_AUDIT, *OPTIONS, "--vulnerability-service", service, *files],
        capture_output=True,
        text=True,
    )
    try:
        dependencies: list[Dependency] = json.loads(done.stdout)["dependencies"]
    except (ValueError, KeyError):
        return (done.stderr.strip().splitlines() or ["it said nothing"])[-1][:300]
    unchecked = [each["name"] for each in dependencies if "vulns" not in each]
    if unchecked or not dependencies:
        return f"{', '.join(unchecked[:5]) or 'every package'} is unknown there"
    return dependencies


def report(dependencies: list[Dependency], service: str) -> int:
    """Print the advisories; the exit code."""
    known = [(package, advisory) for package in dependencies for advisory in package["vulns"]]
    for package, advisory in known:
        names = ", ".join([advisory["id"], *advisory["aliases"]])
        mended = ", ".join(advisory["fix_versions"]) or "no version"
        click.echo(f"{package['name']} {package['version']}: {names}; mended in {mended}")
    click.echo(f"{len(dependencies)} packages checked by {service}: {len(known)} advisories")
    return 1 if known else 0


def main() -> int:
    reasons = []
    for service in SERVICES:
        answer = ask(service)
        if not isinstance(answer, str):
            return report(answer, service)
        reasons.append(f"{service}: {answer}")
    click.echo(f"audit: nothing was checked: {'; '.join(reasons)}", err=True)
    return 2


if __name__ == "__main__":
    sys.exit(main())
