"""`gauntlet runs`: the runs of a root, and what became of them."""

import datetime
from pathlib import Path

import click

from gauntlet.options import console_beside, json_option, root_option
from pipeline.root.root import Root


@click.command
@root_option
@click.option(
    "--limit", type=click.IntRange(min=1), metavar="N", help="Only the newest N. Default: all."
)
@json_option("the list")
def runs(root: Root, limit: int | None, json_file: Path | None) -> None:
    """List the runs of a root, the newest first: what was asked for, found and pushed.

    A run that came to no summary is listed too: it goes on, or it failed or was interrupted.

    \b
      gauntlet runs
      gauntlet runs --root demo --limit 5
    """
    from rich.markup import escape

    from foundation.whole import write_text
    from gauntlet.history.runs import list_runs
    from gauntlet.tables.runs import runs_table

    console = console_beside(json_file)
    listed = list_runs(root, limit)
    if json_file:
        write_text(json_file, listed.to_json())
    if listed.runs:
        console.print(runs_table(listed, datetime.datetime.now(datetime.UTC)))
    else:
        console.print(escape(f"no run has been in {root} yet"), highlight=False, soft_wrap=True)
