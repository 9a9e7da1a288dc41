"""--preset and --set, and the configuration that they name."""

import inspect
from collections.abc import Callable
from typing import Any

import click

from components.datasets.image_folder import describe, is_folder, spans
from foundation.errors import ConfigError
from gauntlet.options import Command
from pipeline.definition.config import RunConfig, override
from pipeline.definition.presets import PRESETS
from pipeline.definition.presets import preset as named_preset


def settings_options(command: Command) -> Command:
    """--preset and --set: `preset` and `assignments`, from which the configuration is made."""
    command = click.option(
        "--set",
        "assignments",
        multiple=True,
        metavar="SECTION.KEY=VALUE",
        help="Change one setting, such as trainer.epochs=2 or threat.epsilon=0.3; repeatable. "
        "Lists are written with commas. A wrong name lists all settings.",
    )(command)
    presets = ", ".join(f"{name} ({_summary(preset)})" for name, preset in PRESETS.items())
    return click.option(
        "--preset",
        metavar=f"[{'|'.join(PRESETS)}]",
        default=next(iter(PRESETS)),
        show_default=True,
        help=f"Named configuration to start from: {presets}.",
    )(command)


def configured(preset: str, assignments: tuple[str, ...]) -> RunConfig:
    """The preset with the user's settings; where these name a folder of images, with what lies in
    there.

    Raises:
        ConfigError: a wrong name or value.
        DataError: the folder does not have the layout.
    """
    config = override(named_preset(preset), assignments)
    if not is_folder(config.data.dataset):
        if config.data.span:
            raise ConfigError(
                f"data.span={config.data.span} is for a folder of spans; {config.data.dataset} is "
                "none"
            )
        return config
    span, root = chosen_span(config.data.dataset, config.data.span)
    images = describe(root)
    derived = {f"data.{name}": split for name, split in images.splits.items()}
    derived |= {
        "data.image_shape": ",".join(map(str, images.image_shape)),
        "data.classes": str(len(images.classes)),
    }
    chosen = (f"data.dataset={images.root}", f"data.span={span}")
    return override(
        named_preset(preset), (*(f"{n}={v}" for n, v in derived.items()), *assignments, *chosen)
    )


def chosen_span(dataset: str, wanted: int) -> tuple[int, str]:
    """The span that was asked for, or (0) the newest, and its folder; 0 and the folder itself where
    there are no spans.

    Raises:
        ConfigError: there is no such span.
    """
    found = spans(dataset)
    if wanted and wanted not in found:
        known = ", ".join(map(str, sorted(found))) or "none"
        raise ConfigError(f"{dataset} has no folder span-{wanted}; its spans are {known}")
    span = wanted or max(found, default=0)
    return span, str(found[span]) if found else dataset


def _summary(preset: Callable[..., Any]) -> str:
    """What a preset is for: the first sentence of its docstring."""
    first, *_ = inspect.getdoc(preset).split("\n\n")  # type: ignore[union-attr]
    return " ".join(first.split()).removesuffix(".")
