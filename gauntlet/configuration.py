"""The configuration that --preset and --set name."""

import json

from components.datasets.image_folder import describe, is_folder, spans
from foundation.errors import ConfigError
from pipeline.definition.config import DataConfig, RunConfig, override
from pipeline.definition.presets import preset as named_preset


def configured(preset: str, assignments: tuple[str, ...]) -> RunConfig:
    """The preset with the user's settings; where these name a folder of images, with what lies in
    there.

    Raises:
        ConfigError: a wrong name or value.
        DataError: the folder does not have the layout.
    """
    config = override(named_preset(preset), assignments)
    if not is_folder(config.data.dataset):
        refuse_span(config.data)
        return config
    span, root = chosen_span(config.data.dataset, config.data.span)
    images = describe(root)
    derived = {f"data.{name}": split for name, split in images.splits.items()}
    derived |= {
        "data.image_shape": ",".join(map(str, images.image_shape)),
        "data.classes": str(len(images.classes)),
        "data.class_names": json.dumps(images.classes),  # a name may have a comma
    }
    chosen = (f"data.dataset={images.root}", f"data.span={span}")
    return override(
        named_preset(preset), (*(f"{n}={v}" for n, v in derived.items()), *assignments, *chosen)
    )


def refuse_span(data: DataConfig) -> None:
    """Raises ConfigError where a span is asked for of a named data set, which has none."""
    if data.span:
        raise ConfigError(f"data.span={data.span} is for a folder of spans; {data.dataset} is none")


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
