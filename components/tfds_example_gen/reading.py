"""Reads a tfds data set through Beam, in parallel, as tf.Examples.

Every example has `id` (tfds's own stable name of the record), `image` (PNG bytes), `label`, and
what the schema checks of an image: its `height`, `width` and `channels`, and `brightness` and
`contrast`, mean and standard deviation of its pixels in [0, 1], by which a span of data is compared
with the last one. The files of the data set are read in batches here: tfds's own reader works
record by record and takes over ten times as long.
"""

import atexit
import json
import logging
import os
import shutil
import struct
import tempfile
from collections import Counter
from collections.abc import Iterator
from typing import Any

import apache_beam as beam
import numpy as np
import tensorflow as tf
import tensorflow_datasets as tfds

from components.datasets.folder.content import Unusable, require_size
from components.datasets.image_folder import FILENAME
from components.datasets.overlap import require_once
from components.datasets.prepare import prepare
from components.records.labels import Labels
from components.records.shards import shard_path, write_shard
from foundation.autotune import no_autotune
from foundation.errors import DataError, RefusedData
from foundation.events import Fields
from trainer.classes import changes, shown

log = logging.getLogger("gauntlet.tfds_example_gen")

BATCH = 1000
"""Records that are parsed at once."""

SHOWN = 10
"""Classes that an error names."""

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
PNG_CHANNELS = {0: 1, 2: 3, 3: 3, 4: 2, 6: 4}
"""PNG colour type to channels (a palette holds RGB)."""


def fetched(uri: str) -> str:
    """A folder on this machine with the prepared data of a store; a folder of this machine is
    itself. A node's container has no other place for it, and ends with the node.

    Raises:
        DataError: there is nothing.
    """
    if not tf.io.gfile.isdir(uri):
        raise DataError(f"there is no prepared data at {uri}: expected a folder of tfds")
    if "://" not in uri:
        return uri
    folder = tempfile.mkdtemp(prefix="gauntlet-data-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    for parent, _, files in tf.io.gfile.walk(uri):
        target = os.path.join(folder, os.path.relpath(parent, uri))
        os.makedirs(target, exist_ok=True)
        for name in files:
            tf.io.gfile.copy(os.path.join(parent, name), os.path.join(target, name))
    return folder


def data_directory(dataset: str, data_dir: str, fingerprint: str) -> str:
    """The folder of the prepared data, fetched first where it is not there; see `TfdsExampleGen`.

    Raises:
        DataError: the data is not that of the fingerprint.
    """
    prepared = prepare(dataset, data_dir or None)
    if fingerprint not in ("", prepared.fingerprint):
        raise DataError(
            f"the data in {prepared.directory} changed since the run began "
            f"(fingerprint {fingerprint}, now {prepared.fingerprint}); start the run again"
        )
    return prepared.directory


def split_parts(
    builder: tfds.core.DatasetBuilder, splits: dict[str, str], shards: int
) -> list[tuple[str, Any, int, int]]:
    """(output split, part of a tfds split, index, count) of every shard to write.

    Raises:
        ConfigError: an image would be in two splits, or twice in one.
        DataError: a split is unknown or empty, or the data set is not one of labelled images in
            TFRecords.
    """
    check_is_image_classification(builder)
    check_is_tfrecord(builder)
    counts, parts = {}, []
    for name, split in splits.items():
        try:
            counts[name] = builder.info.splits[split].num_examples
        except (ValueError, KeyError, NotImplementedError) as error:  # the last: a part of `all`
            known = {found: info.num_examples for found, info in builder.info.splits.items()}
            raise DataError(
                f"{builder.name} has no split {split!r}; its splits are {known}"
            ) from error
        if not counts[name]:
            raise RefusedData(
                f"the split {split!r} of {builder.name} is empty; choose another for data.{name}"
            )
    wanted = {f"data.{name}": split for name, split in splits.items()}
    require_once(builder.name, builder.info.splits, wanted)
    for name, split in splits.items():
        count = min(shards, counts[name])
        parts += [(name, part, i, count) for i, part in enumerate(tfds.even_splits(split, n=count))]
    return parts


def check_is_image_classification(builder: tfds.core.DatasetBuilder) -> None:
    """Raises DataError unless the data set has an `image` and a class `label`."""
    features = dict(builder.info.features.items())
    image, label = features.get("image"), features.get("label")
    if not isinstance(image, tfds.features.Image) or not isinstance(
        label, tfds.features.ClassLabel
    ):
        raise RefusedData(
            f"{builder.name} is no image-classification data set: expected the features `image` "
            f"(Image) and `label` (ClassLabel), it has {features}"
        )


def check_class_names(builder: tfds.core.DatasetBuilder, class_names: list[str]) -> None:
    """Raises DataError where the data calls a label otherwise. A label that only one of the two
    knows is the schema's matter, and data whose classes have no names cannot contradict."""
    label = builder.info.features["label"]
    if not label.get_names_filepath(builder.data_dir, "label").exists():
        return
    both = min(len(label.names), len(class_names))
    if difference := changes(class_names[:both], label.names[:both]):
        own = json.dumps(label.names, ensure_ascii=False, allow_nan=False)
        raise RefusedData(
            f"the labels of {builder.name} in {builder.data_dir} have other names than "
            f"data.class_names says: {difference}. The data's own are {own}: set these, or prepare "
            "the data again"
        )


def check_classes(
    builder: tfds.core.DatasetBuilder, splits: dict[str, str], labels: Labels
) -> None:
    """Each class must be there to be learned and to be judged; where validation lacks one, that is
    said.

    splits: what was read, by the name of the output.

    Raises:
        DataError: there is none of a class in the split for training or in that for tests.
    """
    feature = builder.info.features["label"]
    for name, split in splits.items():
        unseen = [label for label in range(feature.num_classes) if not labels[name].get(label)]
        if not unseen:
            continue
        classes = ", ".join(shown(label, feature.names) for label in unseen[:SHOWN])
        more = ", ..." if len(unseen) > SHOWN else ""
        lack = (
            f"the split {split!r} of {builder.name} has no image of {len(unseen)} of "
            f"{feature.num_classes} classes ({classes}{more})"
        )
        if name != "validation":
            raise RefusedData(
                f"{lack}, and what is not there cannot be learned or judged: choose another "
                f"data.{name}, add images, or leave the class out of the data"
            )
        log.warning("note: %s, so no epoch is chosen by it", lack, extra=Fields(stays=True))


def check_is_tfrecord(builder: tfds.core.DatasetBuilder) -> None:
    """Raises DataError unless the data is stored in TFRecord files."""
    stored = builder.info.file_format
    if stored is not tfds.core.FileFormat.TFRECORD:
        raise DataError(
            f"{builder.data_dir} is stored as {stored.value}, expected tfrecord; prepare the data "
            "again in tfrecord, tfds's default, and pass that folder as --data-dir, or an empty "
            "folder to have it prepared there"
        )


def write_part(
    part: tuple[str, Any, int, int], directory: str, folders: dict[str, str], images: int = 0
) -> tuple[str, dict[int, int]]:
    """Read a part of a split and write it as a shard; returns the split, and how many images each
    label has. images: how many all parts have; 0 where nobody knows."""
    split, instruction, index, count = part
    labels: Counter[int] = Counter()
    written = write_shard(
        shard_path(folders[split], index, count, compressed=True),
        read_part(instruction, directory, labels),
    )
    beam.metrics.Metrics.counter("gauntlet.tfds_example_gen", "read").inc(written)
    log.info("reading", extra=Fields(advance=written, total=images))
    return split, dict(labels)


def read_part(part: Any, directory: str, labels: Counter[int] | None = None) -> Iterator[bytes]:
    """Serialized tf.Examples of a part of a split, as `tfds.even_splits` made it; the images stay
    encoded.

    labels: takes how many images each label has.
    """
    info = tfds.builder_from_directory(directory).info
    named = FILENAME in info.features
    features = {
        name: info.features.tf_example_spec[name]
        for name in ("image", "label", *[FILENAME] * named)
    }
    for file in info.splits[part].file_instructions:
        for index, (image, label, *filename) in enumerate(
            read_file(file, features), start=file.skip
        ):
            # the user's own name of the image, or the id that tfds.ReadConfig(add_tfds_id=True)
            # gives
            identity = filename[0] if named else f"{file.basename()}__{index}".encode()
            if labels is not None:
                labels[int(label)] += 1
            yield to_example(identity, image, label).SerializeToString()


def read_file(file: Any, features: dict[str, Any]) -> Iterator[tuple[Any, ...]]:
    """The features of the records that one of tfds's file instructions takes, in order."""
    records = tf.data.TFRecordDataset(file.filename).skip(file.skip).take(file.take)
    records = records.apply(tf.data.experimental.assert_cardinality(file.take))
    for batch in records.batch(BATCH).with_options(no_autotune()):
        columns = tf.io.parse_example(batch, features)
        yield from zip(*(columns[name].numpy().tolist() for name in features), strict=True)


def to_example(identity: bytes, image: bytes, label: int) -> tf.train.Example:
    """One record; an image in another format than PNG is encoded again, without loss.

    Raises:
        DataError: it is damaged, or its head claims more pixels than are taken.
    """
    name = identity.decode(errors="backslashreplace")
    try:
        require_size(image)
        if not image.startswith(PNG_SIGNATURE):
            image = tf.io.encode_png(tf.io.decode_image(image, expand_animations=False)).numpy()
        pixels = tf.io.decode_png(image).numpy() / np.float32(255)
    except Unusable as error:
        raise RefusedData(f"the image {name} {error}") from error
    except tf.errors.InvalidArgumentError as error:
        reason = error.message.rpartition("}} ")[2]
        raise RefusedData(f"the image {name} cannot be decoded ({reason})") from error
    width, height, _, colour = struct.unpack(">IIBB", image[16:26])
    example = tf.train.Example()
    features = example.features.feature
    features["brightness"].float_list.value.append(float(pixels.mean()))
    features["contrast"].float_list.value.append(float(pixels.std()))
    features["id"].bytes_list.value.append(identity)
    features["image"].bytes_list.value.append(image)
    for name, value in {
        "label": label,
        "height": height,
        "width": width,
        "channels": PNG_CHANNELS[colour],
    }.items():
        features[name].int64_list.value.append(value)
    return example
