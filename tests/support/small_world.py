"""A small world of real files: what the pipeline makes of MNIST, in miniature.

Shards of 8 x 8 images of three classes, the Transform graph, and exported models; how to read what
components write. `conftest.py` makes the fixtures of it.
"""

import dataclasses
import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import tensorflow as tf

SHAPE = (8, 8, 1)
CLASSES = 3
NAMES = ("high", "middle", "low, or grey")
"""Of the classes, in label order; a name may have a comma."""

EXAMPLES = 96


def small_images(n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """uint8 [n, 8, 8, 1] with a bright band whose place tells the class, and the classes."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, CLASSES, size=n)
    images = rng.integers(0, 90, size=(n, *SHAPE), dtype=np.uint8)
    for image, label in zip(images, labels, strict=True):
        image[2 * label + 1 : 2 * label + 3] += 120
    return images, labels


def write_split(folder: Path, n: int, seed: int) -> None:
    """Two shards of raw tf.Examples, as TfdsExampleGen writes them."""
    from components.records.shards import shard_path, write_shard
    from components.tfds_example_gen.reading import to_example

    images, labels = small_images(n, seed)
    records = [
        to_example(
            b"small-%d-%d" % (seed, i), tf.io.encode_png(image).numpy(), int(label)
        ).SerializeToString()
        for i, (image, label) in enumerate(zip(images, labels, strict=True))
    ]
    for shard in range(2):
        write_shard(shard_path(str(folder), shard, 2, compressed=True), records[shard::2])


def build_small_world(root: Path) -> SimpleNamespace:
    """`examples` (artifact folder with Split-train, -validation, -test) and `transform` (graph
    folder)."""
    for seed, split in enumerate(("train", "validation", "test")):
        write_split(root / "examples" / f"Split-{split}", EXAMPLES, seed)
    write_transform(root, SHAPE)
    return SimpleNamespace(
        root=root, examples=str(root / "examples"), transform=str(root / "transform")
    )


def write_transform(root: Path, shape: tuple[int, int, int]) -> None:
    """The Transform graph for images of that shape, in the folder `transform`."""
    import apache_beam as beam
    import tensorflow_transform as tft
    import tensorflow_transform.beam as tft_beam
    from tensorflow_transform.tf_metadata import dataset_metadata, schema_utils

    from trainer.preprocessing import preprocessing_fn

    spec = {"image": tf.string, "label": tf.int64, "id": tf.string}
    schema = schema_utils.schema_from_feature_spec(
        {k: tf.io.FixedLenFeature([1], v) for k, v in spec.items()}
    )
    metadata = dataset_metadata.DatasetMetadata(schema)
    with (
        beam.Pipeline(runner="FnApiRunner") as pipeline,
        tft_beam.Context(temp_dir=str(root / "tmp")),
    ):
        rows = pipeline | beam.Create([{"image": [b""], "label": [0], "id": [b""]}])
        transform_fn = (rows, metadata) | tft_beam.AnalyzeDataset(
            lambda inputs: preprocessing_fn(inputs, {"image_shape": shape})
        )
        _ = transform_fn | tft_beam.WriteTransformFn(str(root / "transform"))
        metadata | tft_beam.WriteMetadata(
            os.path.join(root, "transform", tft.TFTransformOutput.RAW_METADATA_DIR), pipeline
        )


def training_task(
    recipe: str, recipe_changes: dict[str, object] | None = None, **changes: object
) -> dict[str, object]:
    """A Trainer node's custom_config for the small world, with changes to its TrainerConfig."""
    from trainer.config import TrainerConfig

    config = TrainerConfig(filters=(4,), dense=(16,), epochs=6, batch_size=16, learning_rate=0.01)
    return {
        "config": dataclasses.asdict(config) | changes,
        "recipe": {"name": recipe} | (recipe_changes or {}),
        "threat": {"epsilon": 0.1},
        "seed": 0,
        "image_shape": list(SHAPE),
        "classes": CLASSES,
        "class_names": list(NAMES),
    }


def trainer_arguments(
    small_world: SimpleNamespace, folder: Path, task: dict[str, object]
) -> dict[str, object]:
    """What TFX gives to `run_fn`."""
    return {
        "custom_config": task | {"checkpoints": str(folder / "checkpoints")},
        "transform_graph_path": small_world.transform,
        "train_files": [f"{small_world.examples}/Split-train/*"],
        "eval_files": [f"{small_world.examples}/Split-validation/*"],
        "serving_model_dir": str(folder / "Format-Serving"),
        "model_run_dir": str(folder / "logs"),
        "base_model": None,
        "hyperparameters": None,
    }


def run_trainer(small_world: SimpleNamespace, folder: Path, task: dict[str, object]) -> str:
    """Run `run_fn` as TFX would; returns the folder of the exported model."""
    from trainer.train import run_fn

    run_fn(SimpleNamespace(**trainer_arguments(small_world, folder, task)))
    return str(folder)


def artifact(kind: type, uri: str, **properties: Any) -> Any:
    """A TFX artifact of that kind, as a driver hands it to an executor."""
    result = kind()
    result.uri = uri
    for name, value in properties.items():
        setattr(result, name, value)
    return result


def read_rows(folder: str) -> list[tf.train.Example]:
    """All rows of a folder of shards, in the order of the shards."""
    from components.records.shards import list_shards, read_shards

    return [
        tf.train.Example.FromString(r) for r in read_shards(list_shards(folder)).as_numpy_iterator()
    ]


def column(row: tf.train.Example, name: str) -> Any:
    """The first value of a feature."""
    feature = row.features.feature[name]
    return next(iter(getattr(feature, feature.WhichOneof("kind")).value))


def pixels(row: tf.train.Example) -> np.ndarray:
    """float32 [height * width * channels] of a row that holds pixels."""
    return np.asarray(row.features.feature["image"].float_list.value, np.float32)
