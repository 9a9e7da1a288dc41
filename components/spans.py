"""Where the accepted statistics of spans of data lie: `SPANS/SPAN/TIME/FeatureStats.pb`, and beside
them the names of their classes (`trainer.classes`).

Read without TFX and TensorFlow; on an object store it needs TensorFlow's or fsspec's access to
that.
"""

import re

from etils import epath

STATISTICS = "FeatureStats.pb"
"""TFX's name of the file with the statistics of a split."""

ACCEPTED_AT = "%Y%m%dT%H%M%S.%fZ"
"""Name of a folder of accepted statistics: when that was (UTC)."""

NUMBER, TIME = re.compile("[1-9][0-9]*"), re.compile(r"[0-9]{8}T[0-9]{6}\.[0-9]{6}Z")
"""Names of folders; what else lies there is somebody else's."""


def newest_accepted(spans: str, before: int) -> str:
    """The folder of the statistics that were accepted last for the newest span before one; ''
    where there are none.

    spans: folder of the accepted statistics of all spans.
    """
    folder = epath.Path(spans)
    names = [each.name for each in folder.iterdir()] if folder.exists() else []
    numbers = sorted(int(name) for name in names if NUMBER.fullmatch(name))
    for number in reversed([number for number in numbers if number < before]):
        if times := _accepted_at(folder / str(number)):
            return str(folder / str(number) / max(times))
    return ""


def _accepted_at(span: epath.Path) -> list[str]:
    """When a span was accepted: the names of the folders that hold statistics."""
    times = [each.name for each in span.iterdir() if TIME.fullmatch(each.name)]
    return [time for time in times if (span / time / STATISTICS).exists()]
