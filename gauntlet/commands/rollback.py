"""`gauntlet rollback`: an earlier version is served again."""

import click

from gauntlet.options import request, root_option
from pipeline.production.requests import Rollback


@click.command
@root_option
@click.argument("version", required=False)
@click.option(
    "--reason",
    default="",
    help="Reason, stored in the metadata and shown in every listing.",
)
@request(Rollback)
def rollback(task: Rollback) -> None:
    """Serve VERSION again. Default: the newest one of an earlier model whose blessing is in force.

    The model comes back as a new version, so a server that watches the folder takes it. The models
    after it lose their blessing: the served model is then the champion, with which the next
    candidate is compared.
    """
    from rich.console import Console

    from components.versions import PushedBy
    from gauntlet.tables.models import history
    from gauntlet.work import call_with

    console = Console()
    served = call_with(
        "TFX", "pipeline.production.rollback:serve_again", task, task.root.log, console
    )
    how = f": {history(served.card)}" if served.card.kind is PushedBy.ROLLBACK else ""
    console.print(f"version {served.version} is served{how}", markup=False)
