"""`gauntlet bless`: a refused model is pushed by hand."""

import click

from components.changes import require_reason
from foundation.errors import ConfigError
from gauntlet.options import (
    by_hand_options,
    console_beside,
    request,
    root_option,
    voice_options,
)
from pipeline.production.requests import ForcedPush


@click.command
@root_option
@click.argument("run_id", required=False)
@click.option(
    "--force",
    "forced",
    is_flag=True,
    help="Required: confirms that you override the gates.",
)
@by_hand_options
@voice_options
@request(ForcedPush)
def bless(task: ForcedPush, forced: bool) -> None:
    """Push the model of a refused run, in an emergency. Default: of the latest run, where no other
    was refused.

    The model is served and is the champion from then on.

    \b
      gauntlet bless --force --reason "the served model fails on new scanners; this one is the
      lesser evil"
    """
    from gauntlet.work import call_with, log_of

    if not forced:
        raise ConfigError(
            "a blessing by hand overrides the gates; say --force if that is what you want"
        )
    require_reason(task.reason)
    console = console_beside()
    with log_of(task.root) as log:
        served = call_with(
            "TFX", "pipeline.production.forced_push:push_refused", task, log, console
        )
    card = served.card
    overridden = (
        f"{card.refused_by} refused it" if card.refused_by else "its blessing was withdrawn"
    )
    console.print(
        f"version {served.version} is served, though {overridden}; recorded: {card.by}, {card.at}, "
        f"{card.reason}", markup=False, soft_wrap=True,
    )  # fmt: skip
