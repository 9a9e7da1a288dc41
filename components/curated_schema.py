"""CuratedSchema: the schema kept in the repository, as an artifact.

TFX's ImportSchemaGen knows a schema by its path, so its cache would miss an edit, and the path would
differ in a container. Here the node's parameter is the text itself.
"""

import os
from importlib import resources

from tfx.dsl.component.experimental.annotations import OutputArtifact, Parameter
from tfx.dsl.component.experimental.decorators import component
from tfx.dsl.io import fileio
from tfx.types.standard_artifacts import Schema

from robustness.errors import DataError


def schema_text(dataset: str) -> str:
    """The curated schema of a data set, as a text protocol buffer.

    Raises:
        DataError: there is none; the message lists those that exist.
    """
    folder = resources.files("components") / "schema"
    file = folder / f"{dataset}.pbtxt"
    if not file.is_file():
        known = sorted(f.name.removesuffix(".pbtxt") for f in folder.iterdir() if f.name.endswith(".pbtxt"))
        raise DataError(f"no schema for the data set {dataset!r}: expected {file}; there are schemas for {known}")
    return file.read_text()


@component
def CuratedSchema(text: Parameter[str], schema: OutputArtifact[Schema]) -> None:
    """Writes `text` as a Schema artifact."""
    fileio.makedirs(schema.uri)
    with fileio.open(os.path.join(schema.uri, "schema.pbtxt"), "w") as file:
        file.write(text)
