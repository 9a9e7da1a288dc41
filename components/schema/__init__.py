"""The schemas: curated, one text file a data set, or derived for a user's own images; and what the
configuration must agree with in them.

The names of the classes, in label order, are the schema's string domain `label`.
"""

from collections.abc import Sequence
from importlib import resources
from typing import TYPE_CHECKING

from components.class_names import NAMES, names_in, parsed
from components.datasets.image_folder import NAME, is_folder
from foundation.errors import ConfigError, DataError
from trainer.classes import changes

if TYPE_CHECKING:
    from tensorflow_metadata.proto.v0 import schema_pb2


def schema_text(dataset: str) -> str:
    """The curated schema of a data set, as a text protocol buffer.

    Raises:
        DataError: there is none; the message lists those that exist.
    """
    folder = resources.files("components.schema")
    file = folder / f"{dataset}.pbtxt"
    if not file.is_file():
        known = sorted(
            f.name.removesuffix(".pbtxt") for f in folder.iterdir() if f.name.endswith(".pbtxt")
        )
        raise DataError(
            f"no schema for the data set {dataset!r}: expected {file}; there are schemas for "
            f"{known}"
        )
    return file.read_text(encoding="utf-8")


def schema_of(
    dataset: str,
    image_shape: tuple[int, int, int],
    classes: int,
    class_names: Sequence[str] = (),
) -> str:
    """The curated schema of a named data set; of a user's own images the derived one.

    class_names: in label order; what a curated schema says by itself comes first.
    """
    own = is_folder(dataset) or dataset.partition("/")[0] == NAME
    if own:
        return derived_schema(image_shape, classes, class_names)
    text = schema_text(dataset)
    return _named(parsed(text), class_names) if not names_in(text) else text


def derived_schema(
    image_shape: tuple[int, int, int], classes: int, class_names: Sequence[str] = ()
) -> str:
    """The schema of a user's own images, all of one shape: what the curated ones say, with other
    numbers and names."""
    schema = parsed(schema_text("mnist"))
    del schema.string_domain[:]
    sizes = dict(zip(("height", "width", "channels"), image_shape, strict=True))
    for feature in schema.feature:
        if feature.name in sizes:
            feature.int_domain.min = feature.int_domain.max = sizes[feature.name]
        elif feature.name == "label":
            feature.int_domain.max = classes - 1
    return _named(schema, class_names)


def check_schema(
    text: str, image_shape: tuple[int, int, int], classes: int, class_names: Sequence[str] = ()
) -> None:
    """Raises ConfigError unless image sizes, number and names of classes are those that the schema
    demands.

    class_names: empty for those of the schema.
    """
    domains = {feature.name: feature.int_domain for feature in parsed(text).feature}
    for name, size in zip(("height", "width", "channels"), image_shape, strict=True):
        if not domains[name].min <= size <= domains[name].max:
            raise ConfigError(
                f"data.image_shape={image_shape} has {name} {size}, the schema demands "
                f"{domains[name].max}"
            )
    if classes != domains["label"].max + 1:
        raise ConfigError(
            f"data.classes is {classes}, but the schema's labels go from 0 to "
            f"{domains['label'].max}"
        )
    names = names_in(text)
    if len(names) != classes:
        raise ConfigError(
            f"the schema names {len(names)} of {classes} classes; name them in label order by "
            "data.class_names=A,B,... (`gauntlet prepare` prints it for your own images), or in a "
            f'curated schema by string_domain {{ name: "{NAMES}" value: "A" value: "B" }}'
        )
    if class_names and (difference := changes(names, class_names)):
        raise ConfigError(
            f"data.class_names contradicts the schema: {difference}; leave it out for the schema's "
            f"own names, {', '.join(names)}"
        )


def _named(schema: "schema_pb2.Schema", class_names: Sequence[str]) -> str:
    """The text of a schema, with the names of the classes."""
    from google.protobuf import text_format

    if class_names:
        schema.string_domain.add(name=NAMES, value=class_names)
    return str(text_format.MessageToString(schema, as_utf8=True))
