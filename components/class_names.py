"""The names of the classes in a schema: its string domain `label`, in label order.

Read without TFX.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tensorflow_metadata.proto.v0 import schema_pb2

NAMES = "label"
"""The string domain with the names of the classes."""


def names_in(text: str) -> tuple[str, ...]:
    """The names of the classes that a schema has, in label order; empty where it has none."""
    for domain in parsed(text).string_domain:
        if domain.name == NAMES:
            return tuple(domain.value)
    return ()


def parsed(text: str) -> "schema_pb2.Schema":
    """A schema from its text."""
    from google.protobuf import text_format
    from tensorflow_metadata.proto.v0 import schema_pb2

    return text_format.Parse(text, schema_pb2.Schema())
