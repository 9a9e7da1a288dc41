"""The configuration that --preset, --config and --set name."""

import logging
from pathlib import Path
from typing import Any

from rich.console import Console

from components.datasets.folder.spans import number, spans
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
from gauntlet.options import SETTINGS_FILE
from gauntlet.supervisor import shown
from gauntlet.voice import Voice, note, say
from pipeline.definition.beginning import FOLDER, Beginning, begin, names_folder
from pipeline.definition.config import DataConfig, RunConfig
from pipeline.definition.settings_file import read_settings

log = logging.getLogger("gauntlet.data")

WITHOUT_FILE = "--config /dev/null leaves it out"


def configured(
    preset: str | None,
    assignments: tuple[str, ...],
    file: Path | None = None,
    console: Console | None = None,
) -> RunConfig:
    """The preset with the settings of a file, and then those of the command line; where these name
    a folder of images, with what lies in there.

    Args:
        preset: None for the file's, or the default.
        assignments: of `--set`.
        file: of `--config`.
        console: where a look at a folder is shown; None for standard output.

    Raises:
        ConfigError: a wrong name or value.
        DataError: the folder does not have the layout.
    """
    start = beginning(preset, file)
    return noted(start, looked_up(start, assignments, console or Voice()))


def looked_up(start: Beginning, assignments: tuple[str, ...], console: Console) -> RunConfig:
    """The configuration, with what lies in a folder of images."""
    # The other settings may fit the images of the folder only, whose size is not known yet.
    data = start.only(FOLDER).with_settings(filter(names_folder, assignments)).data
    if not is_folder(data.dataset):
        refuse_for_named(data)
        return start.with_settings(assignments)
    span, images = looked_at(data, console)
    located = (f"data.dataset={images.root}", f"data.span={span}")
    derived = ("the folder", derived_from(images))
    return start.with_settings(assignments, derived, located)


def without_looking(
    preset: str | None, assignments: tuple[str, ...], file: Path | None = None
) -> RunConfig:
    """As `configured`, without a look at any data."""
    start = beginning(preset, file)
    return noted(start, start.with_settings(assignments))


def beginning(preset: str | None, file: Path | None) -> Beginning:
    """The preset and the file. Of one that nobody had to name it is said that it was read, and what
    it overrides of a preset that somebody named.

    Raises:
        ConfigError: they cannot be read.
    """
    if by_itself := file == Path(SETTINGS_FILE).absolute():
        say(Voice(stderr=True), f"settings from ./{SETTINGS_FILE}")
    start = begin(preset, None if file is None else read_settings(file))
    if by_itself and preset == start.base and start.overridden:
        names = ", ".join(start.overridden)
        over = f"./{SETTINGS_FILE} wins over preset {preset}: {names}; {WITHOUT_FILE}"
        note(Voice(stderr=True), over)
    return start


def noted(start: Beginning, config: RunConfig) -> RunConfig:
    """The configuration; which settings of the file do nothing in it is said."""
    reasons: dict[str, list[str]] = {}
    for name, reason in start.idle(config).items():
        reasons.setdefault(reason, []).append(name)
    for reason, names in reasons.items():
        assert start.file
        unused = f"{start.file.path}: {', '.join(sorted(names))}: not used with {reason}"
        note(Voice(stderr=True), unused)
    return config


def derived_from(images: ImageFolder) -> dict[str, Any]:
    """Settings that a folder of images tells by itself, by name."""
    facts = {
        "image_shape": images.image_shape,
        "classes": len(images.classes),
        "class_names": tuple(images.classes),
        **images.splits,
    }
    return {f"data.{name}": value for name, value in facts.items()}


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


def looked_at(data: DataConfig, console: Console) -> tuple[int, ImageFolder]:
    """The span that is taken, 0 where there are none, and what lies in its folder; how that goes is
    shown. Without a wish it is the newest complete one, and each newer one is named.

    Raises:
        ConfigError: there is no such span.
        DataError: it cannot be taken, or none of all.
    """
    with shown(console), phase("images"):
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
    if not found and wanted in (0, number(Path(dataset).name)):  # none, or the folder of a span
        return wanted, [(wanted, dataset)]
    if wanted and wanted not in found:
        known = ", ".join(map(str, sorted(found))) or "none"
        raise ConfigError(f"{dataset} has no folder span-{wanted}; its spans are {known}")
    wished = [wanted] if wanted else sorted(found, reverse=True)
    return wanted, [(each, str(found[each])) for each in wished]
