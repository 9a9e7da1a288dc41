"""The one way to write the rows of an artifact: workers write shards, verify each
(`components.records.verification`) and report what they wrote.

The report is data that flows through the pipeline. Beam's counters would not do: some runners never
give them, and a check of them would pass where nothing had run.
"""

import json
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Protocol

import apache_beam as beam
import numpy as np
from tfx.components.util import examples_utils
from tfx.dsl.io import fileio
from tfx.proto import example_gen_pb2
from tfx.types import artifact_utils
from tfx.types.artifact import Artifact

from components.records.names import Origin
from components.records.record import Rows
from components.records.shards import remove_partials, shard_path
from components.records.verification import Verified, write_checked
from foundation.errors import RunError
from foundation.json import dumps
from foundation.whole import write_text
from robustness.config import ThreatModel

WRITTEN = "written.json"
"""File beside the rows: a `Written`."""


class RowSource(Protocol):
    """What a node gives to `write_rows`; it travels to the workers."""

    threat: ThreatModel
    origins: tuple[Origin, ...]
    """What every image must have a row of, its clean row among them where it `writes_clean`."""

    writes_clean: bool
    """Whether it writes the clean rows; otherwise they are in the shards that the node reads."""

    def setup(self) -> None:
        """Load what `rows` needs, once in a worker."""

    def rows(self, shard: str) -> Iterator[Rows]:
        """The rows made of a shard, in batches; a clean row before all other rows of its image."""


@dataclass(frozen=True, kw_only=True)
class Written:
    """What was written and read back. repeated: images whose id another image has too."""

    shards: int
    images: int
    rows: int
    repeated: int


def write_rows(
    pipeline: beam.Pipeline, source: RowSource, inputs: list[str], output: Artifact, split: str
) -> Written:
    """Write the rows of an artifact, a shard for each shard that the node reads.

    Args:
        pipeline: in which the workers write.
        source: what makes the rows.
        inputs: shards that the node reads.
        output: artifact; its properties are set here.
        split: its only split.

    Raises:
        RunError: what was written is not what was made, an image lies outside its ball or [0, 1],
            a row is missing, two images share an id, or there is no image.
    """
    output.split_names = artifact_utils.encode_split_names([split])
    examples_utils.set_payload_format(output, example_gen_pb2.PayloadFormat.FORMAT_TF_EXAMPLE)
    folder = artifact_utils.get_split_uri([output], split)
    # Not compressed: noise does not shrink, and gzip would cost as much as the attack.
    outputs = [shard_path(folder, i, len(inputs), compressed=False) for i in range(len(inputs))]
    with pipeline:
        _ = (
            pipeline
            | beam.Create(list(zip(inputs, outputs, strict=True)))
            | beam.Reshuffle()
            | "Write" >> beam.ParDo(_WriteShard(source))
            | beam.CombineGlobally(_joined)
            | "Report" >> beam.Map(_report, output.uri)
        )
    remove_partials(folder)
    written = read_written(output.uri)
    _require_all(written, len(inputs), folder)
    return written


def read_written(artifact: str) -> Written:
    """What the workers report of the rows of an artifact.

    Raises:
        RunError: they report nothing.
    """
    path = os.path.join(artifact, WRITTEN)
    if not fileio.exists(path):
        raise RunError(f"expected the workers' report in {path}, there is none")
    with fileio.open(path) as file:
        return Written(**json.load(file))


def _require_all(written: Written, shards: int, folder: str) -> None:
    if not written.images:
        raise RunError(f"there is no image to attack: the split of {folder} is empty")
    files = len(fileio.listdir(folder))
    if not shards == written.shards == files:
        raise RunError(
            f"expected {shards} shards in {folder}, {written.shards} were written and {files} "
            "files are there"
        )
    if written.repeated:
        raise RunError(
            f"every image has an id of its own: {written.repeated} of {written.images} images "
            f"share theirs with another one in {folder}"
        )


class _WriteShard(beam.DoFn):
    """Writes the rows of a shard, and gives a hash of each image's id."""

    def __init__(self, source: RowSource) -> None:
        self._source = source

    def setup(self) -> None:
        self._source.setup()

    def process(self, shard: tuple[str, str]) -> Iterator[Verified]:
        read, path = shard
        source, originals = self._source, "" if self._source.writes_clean else read
        yield write_checked(path, source.rows(read), source.threat, source.origins, originals)


def _joined(parts: Iterable[Verified]) -> Verified:
    parts = list(parts)
    return Verified(
        shards=sum(part.shards for part in parts),
        rows=sum(part.rows for part in parts),
        ids=np.concatenate([np.zeros(0, np.uint64), *(part.ids for part in parts)]),
    )


def _report(verified: Verified, artifact: str) -> None:
    images = len(verified.ids)
    written = Written(
        shards=verified.shards,
        images=images,
        rows=verified.rows,
        repeated=images - len(np.unique(verified.ids)),
    )
    fileio.makedirs(artifact)
    write_text(os.path.join(artifact, WRITTEN), dumps(written))
