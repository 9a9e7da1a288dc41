"""The configuration that --preset and --set name."""

import json
import logging

from components.datasets.folder.spans import spans
from components.datasets.image_folder import (
    NAME,
    ImageFolder,
    describe,
    is_folder,
    looks_like_folder,
)
from components.datasets.stock import load_builder
from foundation.errors import ConfigError, DataError
from foundation.events import Fields, phase
from gauntlet.supervisor import shown
from gauntlet.voice import Voice
from pipeline.definition.config import DataConfig, RunConfig, override
from pipeline.definition.presets import preset as named_preset

log = logging.getLogger("gauntlet.data")

FOLDER = ("data.dataset", "data.span", "data.resize")
"""Settings that say which folder is looked at, and how."""


def configured(preset: str, assignments: tuple[str, ...]) -> RunConfig:
    """The preset with the user's settings; where these name a folder of images, with what lies in
    there.

    Raises:
        ConfigError: a wrong name or value.
        DataError: the folder does not have the layout.
    """
    start = named_preset(preset)
    # The other settings may fit the images of the folder only, whose size is not known yet.
    asked = [text for text in assignments if text.partition("=")[0].strip() in FOLDER]
    data = override(start, asked).data
    if not is_folder(data.dataset):
        refuse_for_named(data)
        return override(start, assignments)
    span, images = looked_at(data)
    derived = {f"data.{name}": split for name, split in images.splits.items()}
    derived |= {
        "data.image_shape": ",".join(map(str, images.image_shape)),
        "data.classes": str(len(images.classes)),
        "data.class_names": json.dumps(images.classes, allow_nan=False),  # a name may have a comma
    }
    chosen = (f"data.dataset={images.root}", f"data.span={span}")
    return override(start, (*(f"{n}={v}" for n, v in derived.items()), *assignments, *chosen))


def refuse_for_named(data: DataConfig) -> None:
    """Raises ConfigError where a named data set is asked for what only a folder of images has, or
    is no data set while there is a folder of that name."""
    if data.span:
        raise ConfigError(f"data.span={data.span} is for a folder of spans; {data.dataset} is none")
    if data.resize and not data.dataset.startswith(f"{NAME}/"):
        raise ConfigError(
            f"data.resize={','.join(map(str, data.resize))} is for a folder of images; "
            f"{data.dataset} is none"
        )
    if looks_like_folder(data.dataset):
        load_builder(data.dataset, None)


def looked_at(data: DataConfig) -> tuple[int, ImageFolder]:
    """The span that is taken, 0 where there are none, and what lies in its folder; how that goes is
    shown. Without a wish it is the newest complete one, and each newer one is named.

    Raises:
        ConfigError: there is no such span.
        DataError: it cannot be taken, or none of all.
    """
    with shown(Voice()), phase("images"):
        wanted, folders = chosen_spans(data.dataset, data.span)
        for span, root in folders:
            try:
                images = describe(root, data.resize)
                _ = images.splits  # a run needs train and test
            except DataError as error:
                if wanted or span == folders[-1][0]:
                    raise
                message = "note: span %d is not complete, an older one is taken: %s"
                log.warning(message, span, error, extra=Fields(stays=True))
            else:
                if len(folders) > 1:
                    log.info("span %d is taken", span, extra=Fields(stays=True))
                return span, images
    raise AssertionError("the last folder is taken or raises")


def chosen_spans(dataset: str, wanted: int) -> tuple[int, list[tuple[int, str]]]:
    """The span that was asked for, 0 for none, and the folders that may be taken: its own, or those
    of all spans, the newest first; the data set's own as span 0 where there are no spans.

    Raises:
        ConfigError: there is no such span.
        DataError: it is not clear which folder is which span.
    """
    found = spans(dataset)
    if not found and not wanted:
        return 0, [(0, dataset)]
    if wanted and wanted not in found:
        known = ", ".join(map(str, sorted(found))) or "none"
        raise ConfigError(f"{dataset} has no folder span-{wanted}; its spans are {known}")
    numbers = [wanted] if wanted else sorted(found, reverse=True)
    return wanted, [(number, str(found[number])) for number in numbers]
