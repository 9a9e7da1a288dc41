"""`gauntlet rollback`: an earlier version is served again."""

import click

from gauntlet.options import place_of, root_or_store_options
from pipeline.production.requests import Rollback, StoreRollback
from pipeline.root.root import Root


@click.command
@root_or_store_options
@click.argument("version", required=False)
@click.option(
    "--reason",
    default="",
    help="Reason, stored in the metadata and shown in every listing.",
)
def rollback(folder: str | None, store: str, version: str | None, reason: str) -> None:
    """Serve VERSION again. Default: the newest one of an earlier model whose blessing is in force.

    The model comes back as a new version, so a server that watches the folder takes it. The models
    after it (in a root they lose their blessing) are not pushed again: the served model is then the
    champion, with which the next candidate is compared.
    """
    from rich.console import Console

    from components.versions import PushedBy
    from gauntlet.tables.models import history
    from gauntlet.work import call_with, temporary_log

    console = Console()
    place = place_of(folder, store)
    where = "pipeline.production.rollback"
    if isinstance(place, Root):
        task = Rollback(root=place, version=version, reason=reason)
        served = call_with("TFX", f"{where}:serve_again", task, place.log, console)
    else:
        there = StoreRollback(serving=place, version=version, reason=reason)
        with temporary_log() as log:
            served = call_with("TFX", f"{where}:serve_again_in_store", there, log, console)
    how = f": {history(served.card)}" if served.card.kind is PushedBy.ROLLBACK else ""
    console.print(f"version {served.version} is served{how}", markup=False)
