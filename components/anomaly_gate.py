"""AnomalyGate: ends the run before training when the data breaks the schema, or is no longer like
the last span's.

ExampleValidator only reports anomalies; nothing stops on them unless a node does. Drift (against
the last span that passed) and skew (of the training split against the test split, which stands for
what will be served) are judged here, because ExampleValidator does not compare; the thresholds are
the comparators in the schema.
"""

import os
from collections.abc import Iterator
from typing import Any

import tensorflow_data_validation as tfdv
from tensorflow_metadata.proto.v0 import anomalies_pb2, schema_pb2, statistics_pb2
from tfx.dsl.component.experimental.annotations import InputArtifact, OutputArtifact, Parameter
from tfx.dsl.component.experimental.decorators import component
from tfx.dsl.components.common.resolver import ResolverStrategy
from tfx.dsl.io import fileio
from tfx.types import artifact_utils
from tfx.types.artifact import Artifact
from tfx.types.standard_artifacts import ExampleAnomalies, ExampleStatistics, Schema
from tfx.utils import io_utils

from foundation.errors import DataError

SPLIT, SERVING_SPLIT = "train", "test"
SPAN = "span"


class AcceptedStatistics(Artifact):
    """Statistics of a span that passed the gate: what the next span is compared with. Custom
    property `span`."""

    TYPE_NAME = "gauntlet.AcceptedStatistics"  # as Kubeflow wants it: NAMESPACE.Name


def span_of(accepted: Artifact) -> int:
    """The span whose statistics these are."""
    return int(accepted.get_int_custom_property(SPAN))


class LastSpan(ResolverStrategy):
    """Resolves the accepted statistics of the newest span before one."""

    def __init__(self, before: int) -> None:
        self._before = before

    def resolve_artifacts(
        self, store: Any, input_dict: dict[str, list[Artifact]]
    ) -> dict[str, list[Artifact]]:
        """What TFX asks for: of each input at most one artifact."""
        return {
            name: sorted(
                (a for a in accepted if span_of(a) < self._before),
                key=lambda a: (span_of(a), a.id),
            )[-1:]
            for name, accepted in input_dict.items()
        }


@component
def AnomalyGate(
    anomalies: InputArtifact[ExampleAnomalies],
    statistics: InputArtifact[ExampleStatistics],
    schema: InputArtifact[Schema],
    accepted: OutputArtifact[AcceptedStatistics],
    span: Parameter[int] = 0,
    last: InputArtifact[AcceptedStatistics] = None,
) -> None:
    """Passes clean data, raises DataError otherwise.

    span: number of the delivery, or 0 for data that does not come in spans, which is not compared.
    last: statistics of the span before; without them there is no drift.
    """
    broken = [
        line
        for split in artifact_utils.decode_split_names(anomalies.split_names)
        for line in describe(split, read_anomalies(anomalies, split))
    ]
    if broken:
        raise DataError("the data breaks the schema, nothing was trained:\n" + "\n".join(broken))
    rules = io_utils.SchemaReader().read(io_utils.get_only_uri_in_dir(schema.uri))
    own = artifact_utils.get_split_uri([statistics], SPLIT)
    serving = artifact_utils.get_split_uri([statistics], SERVING_SPLIT)
    moved = (
        list(distances(rules, own, serving, last.uri if last is not None else None)) if span else []
    )
    if moved:
        before = f"span {span_of(last)}" if last is not None else "nothing"
        raise DataError(
            f"the data is no longer what it was (span {span}, compared with {before}), nothing was "
            "trained:\n" + "\n".join(moved)
        )
    accepted.set_int_custom_property(SPAN, span)
    fileio.makedirs(accepted.uri)
    fileio.copy(statistics_file(own), statistics_file(accepted.uri), overwrite=True)


def distances(rules: schema_pb2.Schema, own: str, serving: str, last: str | None) -> Iterator[str]:
    """A sentence for each feature that moved further than its comparator in the schema allows."""
    compared = {"serving_statistics": read_statistics(serving)}
    if last is not None:
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
    return os.path.join(folder, "FeatureStats.pb")


def read_statistics(folder: str) -> statistics_pb2.DatasetFeatureStatisticsList:
    """The statistics that StatisticsGen wrote into a split's folder."""
    with fileio.open(statistics_file(folder), "rb") as file:
        return statistics_pb2.DatasetFeatureStatisticsList.FromString(file.read())


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
