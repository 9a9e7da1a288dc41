"""CuratedSchema: the schema kept in the repository, as an artifact.

TFX's ImportSchemaGen knows a schema by its path, so its cache would miss an edit, and the path
would differ in a container. Here the node's parameter is the text itself.
"""

import os

from tfx.dsl.component.experimental.annotations import OutputArtifact, Parameter
from tfx.dsl.component.experimental.decorators import component
from tfx.dsl.io import fileio
from tfx.types.standard_artifacts import Schema

from foundation.whole import write_text

FILE = "schema.pbtxt"


@component
def CuratedSchema(text: Parameter[str], schema: OutputArtifact[Schema]) -> None:
    """Writes `text` as a Schema artifact."""
    fileio.makedirs(schema.uri)
    write_text(os.path.join(schema.uri, FILE), text)


def read_schema(artifact: str) -> str:
    """The text in an artifact's folder."""
    with fileio.open(os.path.join(artifact, FILE)) as file:
        return str(file.read())
