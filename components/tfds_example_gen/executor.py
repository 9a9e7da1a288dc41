"""Reads a tfds data set through Beam, in parallel, as tf.Examples.

Every example has `id` (tfds's own stable name of the record), `image` (PNG bytes), `label`, and the
`height`, `width` and `channels` of the image, which the schema checks.
"""

import struct
from collections.abc import Iterator
from typing import Any

import apache_beam as beam
import tensorflow as tf
import tensorflow_datasets as tfds
from google.protobuf import json_format, struct_pb2
from tfx.components.example_gen.base_example_gen_executor import BaseExampleGenExecutor
from tfx.proto import example_gen_pb2

from components.datasets.prepare import prepare
from robustness.errors import DataError

SHARDS = 8
"""Parts in which a split is read; each seeks through its file once, so many parts cost little."""

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
PNG_CHANNELS = {0: 1, 2: 3, 3: 3, 4: 2, 6: 4}
"""PNG colour type to channels (a palette holds RGB)."""


class Executor(BaseExampleGenExecutor):
    """Executor of TfdsExampleGen: the parts of a split are read in parallel, TFX writes them."""

    def GetInputSourceToExamplePTransform(self) -> beam.PTransform:
        return ReadSplit


@beam.ptransform_fn
@beam.typehints.with_input_types(beam.Pipeline)
@beam.typehints.with_output_types(bytes)
def ReadSplit(pipeline: beam.Pipeline, exec_properties: dict[str, Any], split: str) -> beam.PCollection:
    """Serialized tf.Examples of one tfds split, such as `train[:55000]`."""
    directory = data_directory(exec_properties["custom_config"])
    builder = tfds.builder_from_directory(directory)
    check_is_image_classification(builder)
    try:
        parts = tfds.even_splits(split, n=SHARDS)
        builder.info.splits[split]
    except (ValueError, KeyError) as error:
        known = {name: info.num_examples for name, info in builder.info.splits.items()}
        raise DataError(f"{builder.name} has no split {split!r} ({error}); its splits are {known}") from error
    return pipeline | beam.Create(parts) | beam.Reshuffle() | beam.FlatMap(read_part, directory)


def data_directory(custom_config: str) -> str:
    """The prepared data that the node's custom_config names, fetched first where it is not there."""
    packed = json_format.Parse(custom_config, example_gen_pb2.CustomConfig())
    source = struct_pb2.Struct()
    packed.custom_config.Unpack(source)
    prepared = prepare(source["dataset"], source["data_dir"] or None)
    if source["fingerprint"] not in ("", prepared.fingerprint):
        raise DataError(
            f"the data in {prepared.directory} changed since the run began "
            f"(fingerprint {source['fingerprint']}, now {prepared.fingerprint}); start the run again"
        )
    return prepared.directory


def check_is_image_classification(builder: tfds.core.DatasetBuilder) -> None:
    """Raises DataError unless the data set has an `image` and a class `label`."""
    features = dict(builder.info.features.items())
    image, label = features.get("image"), features.get("label")
    if not isinstance(image, tfds.features.Image) or not isinstance(label, tfds.features.ClassLabel):
        raise DataError(
            f"{builder.name} is no image-classification data set: expected the features `image` (Image) and "
            f"`label` (ClassLabel), it has {features}"
        )


def read_part(part: Any, directory: str) -> Iterator[bytes]:
    """Serialized tf.Examples of a part of a split, as `tfds.even_splits` made it; the images stay encoded."""
    builder = tfds.builder_from_directory(directory)
    dataset = builder.as_dataset(
        split=part,
        decoders=tfds.decode.PartialDecoding({"image": True, "label": True}, {"image": tfds.decode.SkipDecoding()}),
        read_config=tfds.ReadConfig(add_tfds_id=True, interleave_cycle_length=1),
    )
    counter = beam.metrics.Metrics.counter("gauntlet.tfds_example_gen", "read")
    for row in dataset.as_numpy_iterator():
        counter.inc()
        yield to_example(row["tfds_id"], row["image"], int(row["label"])).SerializeToString()


def to_example(identity: bytes, image: bytes, label: int) -> tf.train.Example:
    """One record; an image in another format than PNG is encoded again, without loss."""
    if not image.startswith(PNG_SIGNATURE):
        image = tf.io.encode_png(tf.io.decode_image(image, expand_animations=False)).numpy()
    width, height, _, colour = struct.unpack(">IIBB", image[16:26])
    example = tf.train.Example()
    features = example.features.feature
    features["id"].bytes_list.value.append(identity)
    features["image"].bytes_list.value.append(image)
    for name, value in {"label": label, "height": height, "width": width, "channels": PNG_CHANNELS[colour]}.items():
        features[name].int64_list.value.append(value)
    return example
