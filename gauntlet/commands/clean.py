"""`gauntlet clean`: what nothing refers to that is served, blessed or kept is removed."""

import datetime
from pathlib import Path

import click

from foundation.whole import write_text
from gauntlet.options import console_beside, json_option, root_option, voice_options
from gauntlet.parameters import AGE
from pipeline.root.root import Root


@click.command
@root_option
@click.option(
    "--keep",
    type=click.IntRange(min=1),
    default=3,
    show_default=True,
    metavar="N",
    help="Keep the newest N runs, and the newest N that came to a summary, with all that they used "
    "and made; and the attacked images of the newest N models that were evaluated.",
)
@click.option(
    "--older-than",
    type=AGE,
    metavar="D",
    help="Remove only what is older than this too, such as 12h, 30d or 8w.",
)
@click.option("--dry-run", is_flag=True, help="Say what would be removed, and remove nothing.")
@voice_options
@json_option("what was removed, path by path,")
def clean(
    root: Root,
    keep: int,
    older_than: datetime.timedelta | None,
    dry_run: bool,
    json_file: Path | None,
) -> None:
    """Remove what no kept run and no pushed model needs, and take it out of TFX's cache.

    Never removed: pushed versions, the models that they were made of, models whose blessing is in
    force, statistics of spans, summaries. Of an evaluation its results stay. A run whose artifacts
    are gone computes them again.
    """
    from gauntlet import documents
    from gauntlet.tables.clean import print_cleaned
    from gauntlet.work import call_with
    from pipeline.root.cleaning import Cleaning, check_is_root
    from pipeline.root.keeping import Keep

    check_is_root(root)  # before there is a log in it
    console = console_beside(json_file)
    task = Cleaning(root=root, keep=Keep(number=keep, older_than=older_than), dry_run=dry_run)
    cleaned = call_with("TFX", "pipeline.root.cleaning:clean", task, root.log, console)
    if json_file:
        write_text(json_file, documents.Cleaning.of(cleaned).to_json())
    print_cleaned(cleaned, console)
