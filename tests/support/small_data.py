"""The small world's images as a prepared data set of tfds."""

from pathlib import Path
from typing import Any

from small_world import SHAPE, small_images


def prepare_small(folder: Path, images: int = 120) -> str:
    """A split `test` of so many images; returns the folder of the data set `small`."""
    import tensorflow_datasets as tfds

    class Small(tfds.core.GeneratorBasedBuilder, skip_registration=True):
        VERSION = tfds.core.Version("1.0.0")
        pkg_dir_path = folder

        def _info(self) -> Any:
            features = {
                "image": tfds.features.Image(shape=SHAPE),
                "label": tfds.features.ClassLabel(num_classes=3),
            }
            return tfds.core.DatasetInfo(
                builder=self, features=tfds.features.FeaturesDict(features)
            )

        def _split_generators(self, _: Any) -> dict[str, Any]:
            return {"test": self._generate_examples(images)}

        def _generate_examples(self, n: int) -> Any:
            for i, (image, label) in enumerate(zip(*small_images(n, 2), strict=True)):
                yield i, {"image": image, "label": label}

    Small(data_dir=str(folder)).download_and_prepare()
    return str(folder / "small" / "1.0.0")
