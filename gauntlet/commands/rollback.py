"""`gauntlet rollback`: an earlier version is served again."""

import click

from components.changes import require_reason
from gauntlet.options import (
    by_hand_options,
    console_beside,
    place_of,
    root_or_store_options,
    voice_options,
)
from pipeline.production.requests import Rollback, StoreRollback
from pipeline.root.root import Root


@click.command
@root_or_store_options
@click.argument("version", required=False)
@by_hand_options
@voice_options
def rollback(folder: str | None, store: str, version: str | None, reason: str, by: str) -> None:
    """Serve VERSION again. Default: the newest intact one of an earlier model whose blessing is in
    force; where the served version is damaged, the newest intact one.

    The model comes back as a new version, so a server that watches the folder takes it. The models
    after it (in a root they lose their blessing) are not pushed again: the served model is then the
    champion, with which the next candidate is compared.
    """
    from components.versions import PushedBy
    from gauntlet.tables.models import history
    from gauntlet.work import call_with, log_of, temporary_log

    console = console_beside()
    place = place_of(folder, store)
    require_reason(reason)
    where = "pipeline.production.rollback"
    if isinstance(place, Root):
        task = Rollback(root=place, version=version, reason=reason, by=by)
        with log_of(place) as log:
            served = call_with("TFX", f"{where}:serve_again", task, log, console)
    else:
        there = StoreRollback(serving=place, version=version, reason=reason, by=by)
        with temporary_log() as log:
            served = call_with("TFX", f"{where}:serve_again_in_store", there, log, console)
    came_back = served.card.kind is PushedBy.ROLLBACK
    how = f": {history(served.card)}" if came_back else ""
    is_new = came_back and served.card.reason == reason
    told = "is served" if is_new else "is served already, nothing was pushed"
    console.print(f"version {served.version} {told}{how}", markup=False, soft_wrap=True)
