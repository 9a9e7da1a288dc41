"""Where the accepted statistics of spans of data lie: `SPANS/SPAN/TIME/FeatureStats.pb`, and beside
them the names of their classes (`trainer.classes`) and the name of their data set.

Read without TFX and TensorFlow; on an object store it needs TensorFlow's or fsspec's access to
that.
"""

import re

from etils import epath

STATISTICS = "FeatureStats.pb"
"""TFX's name of the file with the statistics of a split."""

DATASET = "dataset.txt"
"""File with the name of the data set, see `components.policy.Purpose`; what earlier versions kept
has none, and is any."""

ACCEPTED_AT = "%Y%m%dT%H%M%S.%fZ"
"""Name of a folder of accepted statistics: when that was (UTC)."""

NUMBER, TIME = re.compile("[1-9][0-9]*"), re.compile(r"[0-9]{8}T[0-9]{6}\.[0-9]{6}Z")
"""Names of folders; what else lies there is somebody else's."""


def newest_accepted(spans: str, before: int, dataset: str = "") -> str:
    """The folder of the statistics that were accepted last for the newest span of a data set before
    one; '' where there are none.

    spans: folder of the accepted statistics of all spans. dataset: its name; '' for any.
    """
    folder = epath.Path(spans)
    names = [each.name for each in folder.iterdir()] if folder.exists() else []
    numbers = sorted(int(name) for name in names if NUMBER.fullmatch(name))
    for number in reversed([number for number in numbers if number < before]):
        if times := _accepted_at(folder / str(number), dataset):
            return str(folder / str(number) / max(times))
    return ""


def _accepted_at(span: epath.Path, dataset: str) -> list[str]:
    """When a span was accepted: the names of the folders that hold statistics of the data set."""
    times = [each.name for each in span.iterdir() if TIME.fullmatch(each.name)]
    whole = [time for time in times if (span / time / STATISTICS).exists()]
    return [time for time in whole if not dataset or _dataset_of(span / time) in ("", dataset)]


def _dataset_of(kept: epath.Path) -> str:
    file = kept / DATASET
    return str(file.read_text()) if file.exists() else ""
