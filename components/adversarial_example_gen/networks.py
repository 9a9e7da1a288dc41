"""Networks from TFX's model artifacts, whoever trained them, as functions from images to logits."""

import logging
from collections.abc import Mapping

from tfx.types import artifact_utils
from tfx.types.artifact import Artifact
from tfx.utils import path_utils

from foundation.errors import DataError
from trainer.models.load import ImageModel, load_export, require_no_memory

log = logging.getLogger("gauntlet.adversarial_example_gen")


def export_of(artifacts: list[Artifact]) -> str:
    """Folder of the SavedModel in a model artifact."""
    return str(path_utils.serving_model_path(artifact_utils.get_single_uri(artifacts)))


def load_network(path: str) -> ImageModel:
    """A SavedModel of Keras 2, or any with a signature from images as numbers to logits or what
    increases with them.

    Raises:
        DataError: it takes no images of a fixed shape, has no such signature, or may keep something
            of what it is asked.
    """
    model = load_export(path)
    require_no_memory(path)
    if model.judged.output.taken_off:
        off = " and ".join(model.judged.output.taken_off)
        log.warning("%s: The %s at its end was taken off", path, off)
    for doubt in model.judged.doubts:
        log.warning("%s: %s", path, doubt)
    return model


def load_networks(paths: Mapping[str, str]) -> dict[str, ImageModel]:
    """Networks by name, which all take and give the same shapes.

    Raises:
        DataError: they do not, or one cannot be used.
    """
    networks = {name: load_network(path) for name, path in paths.items()}
    shapes = {name: (network.image_shape, network.classes) for name, network in networks.items()}
    if len(set(shapes.values())) > 1:
        raise DataError(
            f"all models take images of one shape and give as many classes, got {shapes}"
        )
    return networks
