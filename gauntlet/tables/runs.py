"""The table of the runs of a root."""

import datetime

from rich.console import Group
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from gauntlet.history.runs import RUN_ID, PastRun, Runs, State
from gauntlet.tables.models import share_of
from robustness.config import shown_epsilon

COLOURS = {
    State.PUSHED: "green",
    State.REFUSED: "red",
    State.DAMAGED: "red",
    State.ENDED: "yellow",
    State.GOING_ON: "cyan",
}

SECONDS = len("20261128-045927")
"""Of the name of a run, what says the second at which it began."""

UNITS = {"d": 86_400, "h": 3_600, "min": 60}
"""Of an age, in seconds."""


def runs_table(runs: Runs, now: datetime.datetime) -> Group:
    """Some lines a run, the newest first, in 80 columns. Names are as short as tells the runs
    apart."""
    table = Table(title=escape(f"Runs in {runs.root}"), collapse_padding=True)
    table.add_column("run, time, size", no_wrap=True)
    table.add_column("for", overflow="fold")
    for column in ("clean", "worst\ncase", "certified"):
        table.add_column(column, justify="right", no_wrap=True)
    table.add_column("outcome", overflow="fold")
    for run in runs.runs:
        size = f"{run.bytes / 2**20:.1f} MB"
        table.add_row(
            f"{short_name(run, runs)}\n{age_of(run, now)}\n{duration_of(run.seconds)}, {size}",
            escape(purpose_of(run)),
            *map(share_of, (run.clean, run.worst_case, run.certified)),
            f"[{COLOURS[run.state]}]{escape(run.outcome)}[/]",
            end_section=True,
        )
    return Group(table, Text(below(runs), style="dim"))


def below(runs: Runs) -> str:
    """What the columns mean, and how many runs are left out."""
    left = runs.total - len(runs.runs)
    more = f"{left:,} older ones are left out by --limit. " * bool(left)
    return (
        f"{more}MB: results on the disk; artifacts are shared by runs, see `gauntlet clean "
        "--dry-run`. `gauntlet show RUN` takes the beginning of a name."
    )


def short_name(run: PastRun, runs: Runs) -> str:
    """The name of a run without the parts of a second, where no other one began in that second."""
    short = run.run_id[:SECONDS]
    same = [each for each in runs.runs if each.run_id.startswith(short)]
    return escape(short if len(same) == 1 and _is_dated(run.run_id) else run.run_id)


def _is_dated(name: str) -> bool:
    try:
        return bool(datetime.datetime.strptime(name, RUN_ID))
    except ValueError:
        return False


def age_of(run: PastRun, now: datetime.datetime) -> str:
    """How long ago a run began."""
    seconds = (now - datetime.datetime.fromisoformat(run.began)).total_seconds()
    for unit, size in UNITS.items():
        if seconds >= size:
            return f"{seconds // size:.0f} {unit} ago"
    return "now"


def purpose_of(run: PastRun) -> str:
    """What was asked for, a line each, with dashes for what nobody knows."""
    ball = "-"
    if run.norm is not None and run.epsilon is not None:
        ball = f"{run.norm} {shown_epsilon(run.epsilon)}"
    return f"{run.preset or '-'}\n{run.dataset or '-'}\n{ball}"


def duration_of(seconds: float | None) -> str:
    """A time in minutes, or a dash where it is not known."""
    return "-" if seconds is None else f"{seconds / 60:.1f} min"
