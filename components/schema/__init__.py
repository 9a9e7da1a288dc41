"""The schemas: curated, one text file a data set, or derived for a user's own images; and what the
configuration must agree with in them."""

from importlib import resources

from components.datasets.image_folder import NAME, is_folder
from foundation.errors import ConfigError, DataError


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
    return file.read_text()


def schema_of(dataset: str, image_shape: tuple[int, int, int], classes: int) -> str:
    """The curated schema of a named data set; of a user's own images the derived one."""
    own = is_folder(dataset) or dataset.partition("/")[0] == NAME
    return derived_schema(image_shape, classes) if own else schema_text(dataset)


def derived_schema(image_shape: tuple[int, int, int], classes: int) -> str:
    """The schema of a user's own images, all of one shape: what the curated ones say, with other
    numbers."""
    from google.protobuf import text_format
    from tensorflow_metadata.proto.v0 import schema_pb2

    schema = text_format.Parse(schema_text("mnist"), schema_pb2.Schema())
    sizes = dict(zip(("height", "width", "channels"), image_shape, strict=True))
    for feature in schema.feature:
        if feature.name in sizes:
            feature.int_domain.min = feature.int_domain.max = sizes[feature.name]
        elif feature.name == "label":
            feature.int_domain.max = classes - 1
    return text_format.MessageToString(schema)


def check_schema(text: str, image_shape: tuple[int, int, int], classes: int) -> None:
    """Raises ConfigError unless image sizes and number of classes are those that the schema
    demands."""
    from google.protobuf import text_format
    from tensorflow_metadata.proto.v0 import schema_pb2

    domains = {
        feature.name: feature.int_domain
        for feature in text_format.Parse(text, schema_pb2.Schema()).feature
    }
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
