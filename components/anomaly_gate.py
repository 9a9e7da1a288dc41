"""AnomalyGate: ends the run before training when the data has other classes than the last span,
breaks the schema, or is no longer like the last span's.

ExampleValidator only reports anomalies; nothing stops on them unless a node does. Drift (against
the last span that passed) and skew (of the training split against the test split, which stands for
what will be served) are judged here, because ExampleValidator does not compare; the thresholds are
the comparators in the schema.
"""

import datetime
import json
import logging
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypedDict

import tensorflow_data_validation as tfdv
from google.protobuf.message import DecodeError
from tensorflow_metadata.proto.v0 import anomalies_pb2, schema_pb2, statistics_pb2
from tfx.dsl.component.experimental.annotations import InputArtifact, OutputArtifact, Parameter
from tfx.dsl.component.experimental.decorators import component
from tfx.dsl.io import fileio
from tfx.types import artifact_utils
from tfx.types.standard_artifacts import (
    ExampleAnomalies,
    Examples,
    ExampleStatistics,
    Schema,
)
from tfx.utils import io_utils

from components.champion import WAYS_OUT
from components.class_names import names_in
from components.curated_schema import read_schema
from components.evaluator.gate import Gate
from components.records.labels import read_labels
from components.spans import ACCEPTED_AT, DATASET, STATISTICS, newest_accepted
from foundation.errors import ConfigError, DataError, RefusedData
from foundation.events import Fields
from foundation.whole import sync, sync_tree, write_text
from trainer.classes import CLASS_NAMES, Classes, differences, file_of, read_names

log = logging.getLogger("gauntlet.spans")

STAYS = Fields(stays=True)

SPLIT, SERVING_SPLIT = "train", "test"

ACCEPTED_CLASSES = "accepted_classes"
"""Custom property of the output: how the classes differ from the last span's, or ''."""


def keep_accepted(
    statistics: str, names: tuple[str, ...], spans: str, span: int, dataset: str
) -> None:
    """Keep the statistics of a span and the names of its classes for the next one, where they are
    not kept already; whole, or not at all: the statistics come last, and make it one.

    statistics: folder of a split's statistics. spans, dataset: see `components.spans`.
    """
    newest = newest_accepted(spans, span + 1, dataset)
    same_span = bool(newest) and os.path.basename(os.path.dirname(newest)) == str(span)
    if same_span and (read_statistics(newest), read_names(newest)) == (
        read_statistics(statistics),
        names,
    ):
        return
    now = datetime.datetime.now(datetime.UTC).strftime(ACCEPTED_AT)
    kept = statistics_file(os.path.join(spans, str(span), now))
    fileio.makedirs(os.path.dirname(kept))
    beside = {CLASS_NAMES: file_of(names).decode(), DATASET: dataset}
    for name, content in beside.items():
        if content:
            write_text(os.path.join(os.path.dirname(kept), name), content)
    fileio.copy(statistics_file(statistics), f"{kept}.partial")
    if "://" not in kept:
        sync_tree(Path(kept).parent)
    fileio.rename(f"{kept}.partial", kept)
    if "://" not in kept:
        sync_tree(Path(spans, str(span)))
        sync(Path(spans))


class Accepted(TypedDict):
    """Output of LastSpan."""

    accepted: str


@component
def LastSpan(
    spans: Parameter[str],
    before: Parameter[int],
    dataset: Parameter[str] = "",
    seen: Parameter[str] = "",
) -> Accepted:
    """Says where the accepted statistics of the span before one lie; like Champion it is no
    resolver.

    spans: see `components.spans`. before: number of the span that shall be compared with it.
    dataset: whose spans; the statistics of another one say nothing. seen: see `Champion`.

    Returns `accepted`: folder of the statistics, '' where no earlier span was accepted.
    """
    return {"accepted": newest_accepted(spans, before, dataset)}


@component
def AnomalyGate(
    anomalies: InputArtifact[ExampleAnomalies],
    statistics: InputArtifact[ExampleStatistics],
    schema: InputArtifact[Schema],
    accepted: OutputArtifact[ExampleStatistics],
    span: Parameter[int] = 0,
    last: Parameter[str] = "",
    spans: Parameter[str] = "",
    accept_classes: Parameter[int] = 0,
    seen: Parameter[str] = "",
    examples: InputArtifact[Examples] = None,
    gates: Parameter[str] = "[]",
    dataset: Parameter[str] = "",
    stop: Parameter[int] = 0,
) -> None:
    """Passes clean data, raises DataError otherwise; says before anything is trained which gates no
    model can pass on so few images, and raises ConfigError where the run shall stop then.

    span: number of the delivery, or 0 for data that does not come in spans, which is not compared.
    last: answer of LastSpan; without earlier statistics there is no drift. spans: where LastSpan
    looks, see `components.spans`. accept_classes: 1 where other classes than those of the last span
    are no error; the property `accepted_classes` of the output says then how they differ. seen:
    another value for each run, because it writes there. examples: the data itself, of which it
    reads how many images a class has. gates: JSON, those that will judge the model (`Gate.plain`).
    dataset: whose spans they are. stop: 1 where the run ends at such a gate; otherwise it goes on.
    """
    rules = io_utils.SchemaReader().read(io_utils.get_only_uri_in_dir(schema.uri))
    names = names_in(read_schema(schema.uri))
    other = other_classes(last, names, bool(accept_classes)) if last else ""
    refuse_anomalies(anomalies)
    own, serving = (
        artifact_utils.get_split_uri([statistics], split) for split in (SPLIT, SERVING_SPLIT)
    )
    if span > 1 and not last:
        log.warning("span %d is compared with no earlier one: none is kept in %s", span, spans)
    if span:
        refuse_moved(span, distances(rules, own, serving, last), last)
    if examples is not None and stop:
        refuse_beyond(json.loads(gates), examples.uri)
    if examples is not None:
        for sentence in beyond(json.loads(gates), read_labels(examples.uri)[SERVING_SPLIT]):
            log.warning("note: whatever is trained will be refused by %s", sentence, extra=STAYS)
    fileio.makedirs(accepted.uri)
    fileio.copy(statistics_file(own), statistics_file(accepted.uri), overwrite=True)
    accepted.set_string_custom_property(ACCEPTED_CLASSES, other)
    if span:
        keep_accepted(own, names, spans, span, dataset)


def refuse_anomalies(anomalies: ExampleAnomalies) -> None:
    """Raises DataError where the data breaks the schema."""
    broken = [
        line
        for split in artifact_utils.decode_split_names(anomalies.split_names)
        for line in describe(split, read_anomalies(anomalies, split))
    ]
    if broken:
        raise RefusedData("the data breaks the schema, nothing was trained:\n" + "\n".join(broken))


def refuse_moved(span: int, distances: Iterator[str], last: str) -> None:
    """Raises DataError where features moved too far. distances: a sentence for each of them. last:
    folder of the statistics that they were compared with, or ''."""
    moved = list(distances)
    if moved:
        before = f"span {os.path.basename(os.path.dirname(last))}" if last else "nothing"
        raise RefusedData(
            f"the data is no longer what it was (span {span}, compared with {before}), nothing was "
            "trained:\n" + "\n".join(moved)
        )


def refuse_beyond(gates: list[dict[str, Any]], examples: str) -> None:
    """Raises ConfigError where the test split has too few images for a gate, whatever model comes.

    gates: see `Gate.plain`. examples: folder of the data.
    """
    if reasons := list(beyond(gates, read_labels(examples)[SERVING_SPLIT])):
        raise ConfigError(
            "nothing was trained, since no model can pass:\n"
            + "\n".join(f"- {reason}" for reason in reasons)
            + "\nTake more test images (data.test), ask for less (gates.*), or train all the same, "
            "for the numbers: --anyway"
        )


def beyond(gates: list[dict[str, Any]], labels: dict[int, int]) -> Iterator[str]:
    """Gates that no model can pass on so few images, those with one reason together.

    gates: see `Gate.plain`. labels: how many images of the test split each class has.
    """
    reasons: dict[str, list[str]] = {}
    for gate in map(Gate.of, gates):
        if reason := gate.beyond(labels):
            reasons.setdefault(reason, []).append(gate.name)
    for reason, names in reasons.items():
        yield f"{', '.join(names)}:{reason}"


def other_classes(last: str, names: tuple[str, ...], accepted: bool) -> str:
    """How the classes differ from those of the last span, where that is accepted; '' where they do
    not. Of a span whose names are not kept only the number of classes is compared.

    last: folder of its statistics.

    Raises:
        DataError: they differ, and that is not accepted.
    """
    kept = read_names(last)
    before = Classes.of(kept) if kept else Classes(count=count_in(read_statistics(last)))
    number = os.path.basename(os.path.dirname(last))
    if not kept:
        log.warning("no class names are kept of span %s: only their number is compared", number)
    difference = differences(before, Classes.of(names))
    if difference and not accepted:
        raise RefusedData(
            f"the data has other classes than span {number}: {difference}. Nothing was trained; "
            f"{WAYS_OUT}"
        )
    if difference:
        log.warning("other classes than span %s are accepted: %s", number, difference)
    return difference


def count_in(statistics: statistics_pb2.DatasetFeatureStatisticsList) -> int | None:
    """The number of classes by the highest label; None where there are no numbers."""
    for feature in statistics.datasets[0].features:
        if feature.path.step == ["label"] and feature.HasField("num_stats"):
            return int(feature.num_stats.max) + 1
    return None


def distances(rules: schema_pb2.Schema, own: str, serving: str, last: str) -> Iterator[str]:
    """A sentence for each feature that moved further than its comparator in the schema allows."""
    compared = {"serving_statistics": read_statistics(serving)}
    if last:
        compared["previous_statistics"] = read_statistics(last)
    for kind, other in compared.items():
        anomalies = tfdv.validate_statistics(read_statistics(own), rules, **{kind: other})
        name = (
            "skew of the training split against the test split"
            if kind.startswith("serving")
            else "drift"
        )
        for feature, info in sorted(anomalies.anomaly_info.items()):
            yield f"- feature {feature}: {name}: {info.description}"


def statistics_file(folder: str) -> str:
    """Where TFX keeps the statistics of a split."""
    return os.path.join(folder, STATISTICS)


def read_statistics(folder: str) -> statistics_pb2.DatasetFeatureStatisticsList:
    """The statistics that StatisticsGen wrote into a split's folder."""
    path = statistics_file(folder)
    with fileio.open(path, "rb") as file:
        content = file.read()
    try:
        statistics = statistics_pb2.DatasetFeatureStatisticsList.FromString(content)
    except DecodeError as error:
        raise DataError(f"{path} is damaged: it holds no statistics") from error
    if not any(dataset.features for dataset in statistics.datasets):
        raise DataError(f"{path} is damaged: its statistics know no feature")
    return statistics


def read_anomalies(artifact: ExampleAnomalies, split: str) -> anomalies_pb2.Anomalies:
    """The anomalies that ExampleValidator wrote for a split."""
    path = os.path.join(artifact_utils.get_split_uri([artifact], split), "SchemaDiff.pb")
    with fileio.open(path, "rb") as file:
        return anomalies_pb2.Anomalies.FromString(file.read())


def describe(split: str, anomalies: anomalies_pb2.Anomalies) -> list[str]:
    """One sentence an anomaly, naming split and feature."""
    lines = []
    if anomalies.HasField("dataset_anomaly_info"):
        lines.append(f"- split {split}: {anomalies.dataset_anomaly_info.description}")
    for feature, info in sorted(anomalies.anomaly_info.items()):
        lines.append(f"- split {split}, feature {feature}: {info.description}")
    if anomalies.data_missing:
        lines.append(f"- split {split}: there is no data")
    return lines
