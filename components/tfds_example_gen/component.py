"""The TfdsExampleGen node. It has no driver of its own, because Kubeflow runs custom components but
no custom drivers; what TFX's cache must see is in its parameters."""

import json

import apache_beam as beam
import tensorflow_datasets as tfds
from tfx.components.util import examples_utils
from tfx.dsl.component.experimental.annotations import (
    BeamComponentParameter,
    InputArtifact,
    OutputArtifact,
    Parameter,
)
from tfx.dsl.component.experimental.decorators import component
from tfx.proto import example_gen_pb2
from tfx.types import artifact_utils
from tfx.types.standard_artifacts import Examples

from components.records.labels import read_labels, write_labels
from components.records.shards import remove_partials
from components.tfds_example_gen.reading import (
    check_class_names,
    check_classes,
    data_directory,
    fetched,
    split_parts,
    write_part,
)


@component(use_beam=True)
def TfdsExampleGen(
    dataset: Parameter[str],
    splits: Parameter[str],
    shards: Parameter[int],
    examples: OutputArtifact[Examples],
    data_dir: Parameter[str] = "",
    fingerprint: Parameter[str] = "",
    class_names: Parameter[str] = "[]",
    data: InputArtifact[Examples] = None,
    beam_pipeline: BeamComponentParameter[beam.Pipeline] = None,
) -> None:
    """Reads splits of a tfds data set and writes tf.Examples of `id`, `image`, `label` and what the
    schema checks of an image.

    Each part of a split is read and written as a shard by one worker; `labels.json` says how many
    images of each class a split has.

    dataset: name in tfds, such as `mnist`. splits: JSON, output split name to tfds split, such as
    `train[:55000]`. shards: files a split, read and written in parallel. data_dir: folder where the
    data lies or goes, see `components.datasets.prepare`; TFX's cache sees this path too: pass one
    that stays the same while the data does. fingerprint: hash of the prepared data; other data
    under the same name is another input. class_names: JSON, what the labels are called, in their
    order; empty where nobody has said. data: prepared data in a store, instead of `data_dir`.

    Raises:
        ConfigError: an image would be in two splits, or twice in one.
        DataError: the data is missing, no image classification or not stored as TFRecords, a split
            is unknown or empty or lacks a class, the data calls a label otherwise, or it changed
            since the run began.
    """
    wanted: dict[str, str] = json.loads(splits)
    if data is not None:
        data_dir = fetched(data.uri)
    directory = data_directory(dataset, data_dir, fingerprint)
    builder = tfds.builder_from_directory(directory)
    parts = split_parts(builder, wanted, shards)
    check_class_names(builder, json.loads(class_names))
    examples.split_names = artifact_utils.encode_split_names(list(wanted))
    examples_utils.set_payload_format(examples, example_gen_pb2.PayloadFormat.FORMAT_TF_EXAMPLE)
    examples_utils.set_file_format(examples, "tfrecords_gzip")
    folders = {split: artifact_utils.get_split_uri([examples], split) for split in wanted}
    images = sum(builder.info.splits[split].num_examples for split in wanted.values())
    with beam_pipeline as pipeline:
        _ = (
            pipeline
            | beam.Create(parts)
            | beam.Reshuffle()
            | beam.Map(write_part, directory, folders, images)
            | beam.combiners.ToList()
            | beam.Map(write_labels, examples.uri)
        )
    for folder in folders.values():
        remove_partials(folder)
    check_classes(builder, wanted, read_labels(examples.uri))
