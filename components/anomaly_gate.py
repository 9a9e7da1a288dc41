"""AnomalyGate: ends the run before training when the data breaks the schema.

ExampleValidator only reports anomalies; nothing stops on them unless a node does.
"""

import os

from tensorflow_metadata.proto.v0 import anomalies_pb2
from tfx.dsl.component.experimental.annotations import InputArtifact
from tfx.dsl.component.experimental.decorators import component
from tfx.dsl.io import fileio
from tfx.types import artifact_utils
from tfx.types.standard_artifacts import ExampleAnomalies

from robustness.errors import DataError


@component
def AnomalyGate(anomalies: InputArtifact[ExampleAnomalies]) -> None:
    """Passes clean data, raises DataError otherwise."""
    found = [
        line
        for split in artifact_utils.decode_split_names(anomalies.split_names)
        for line in describe(split, read_anomalies(anomalies, split))
    ]
    if found:
        raise DataError("the data breaks the schema, nothing was trained:\n" + "\n".join(found))


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
