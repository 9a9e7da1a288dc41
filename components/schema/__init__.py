"""The curated schemas, one text file a data set, and what the configuration must agree with in them."""

from importlib import resources

from robustness.errors import ConfigError, DataError


def schema_text(dataset: str) -> str:
    """The curated schema of a data set, as a text protocol buffer.

    Raises:
        DataError: there is none; the message lists those that exist.
    """
    folder = resources.files("components.schema")
    file = folder / f"{dataset}.pbtxt"
    if not file.is_file():
        known = sorted(f.name.removesuffix(".pbtxt") for f in folder.iterdir() if f.name.endswith(".pbtxt"))
        raise DataError(f"no schema for the data set {dataset!r}: expected {file}; there are schemas for {known}")
    return file.read_text()


def check_schema(text: str, image_shape: tuple[int, int, int], classes: int) -> None:
    """Raises ConfigError unless image sizes and number of classes are those that the schema demands."""
    from google.protobuf import text_format
    from tensorflow_metadata.proto.v0 import schema_pb2

    domains = {feature.name: feature.int_domain for feature in text_format.Parse(text, schema_pb2.Schema()).feature}
    for name, size in zip(("height", "width", "channels"), image_shape, strict=True):
        if not domains[name].min <= size <= domains[name].max:
            raise ConfigError(
                f"data.image_shape={image_shape} has {name} {size}, the schema demands {domains[name].max}"
            )
    if classes != domains["label"].max + 1:
        raise ConfigError(f"data.classes is {classes}, but the schema's labels go from 0 to {domains['label'].max}")
