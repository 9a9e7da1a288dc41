"""The table of the images that speak against a model."""

from collections.abc import Sequence

from rich.markup import escape
from rich.table import Table

from gauntlet.history.against import GateImages, class_text

WHOLE = 36
"""Letters of an id that stay in one line, so that it can be copied, beside all else in 80."""


def against_table(found: GateImages, names: Sequence[str]) -> Table:
    """One row an image. names: of the classes, in label order."""
    gate = found.gate
    title = f"{len(found.images)} of {gate.images_against or len(gate.ids):,} images against it"
    table = Table(title=f"{escape(gate.name)}: {title}")
    longest = max((len(image.id) for image in found.images), default=0)
    table.add_column("image", no_wrap=longest <= WHOLE, overflow="fold")
    for column in ("true", "clean", "attacked", "by"):
        table.add_column(column, overflow="fold")
    for image in found.images:
        classes = (image.label, image.prediction, image.attacked_prediction)
        said = [class_text(each, names) for each in classes]
        table.add_row(*map(escape, (image.id, *said, image.attack)))
    return table
