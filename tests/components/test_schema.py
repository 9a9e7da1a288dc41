"""The curated schema and the gate on it: data that breaks it, and settings that contradict it."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_data_validation as tfdv
from google.protobuf import text_format
from tensorflow_metadata.proto.v0 import schema_pb2

from components import schema
from components.anomaly_gate import describe
from components.records.shards import write_shard
from components.schema import check_schema, names_in, schema_of, schema_text
from components.tfds_example_gen.reading import to_example
from foundation.errors import ConfigError, DataError


def anomalies_of(tmp_path: Path, change: Callable[[tf.train.Example], None]) -> list[str]:
    """What the gate would say of 20 MNIST-like examples, one of them changed."""
    examples = [
        to_example(b"%d" % i, tf.io.encode_png(np.zeros((28, 28, 1), np.uint8)).numpy(), i % 10)
        for i in range(20)
    ]
    change(examples[7])
    write_shard(str(tmp_path / "data.gz"), [e.SerializeToString() for e in examples])
    statistics = tfdv.generate_statistics_from_tfrecord(str(tmp_path / "data.gz"))
    rules = text_format.Parse(schema_text("mnist"), schema_pb2.Schema())
    return describe("train", tfdv.validate_statistics(statistics, rules))


def wrong_size(example: tf.train.Example) -> None:
    example.features.feature["height"].int64_list.value[0] = 27


def wrong_label(example: tf.train.Example) -> None:
    example.features.feature["label"].int64_list.value[0] = 10


def no_image(example: tf.train.Example) -> None:
    del example.features.feature["image"]


def colour(example: tf.train.Example) -> None:
    example.features.feature["channels"].int64_list.value[0] = 3


@pytest.mark.parametrize(
    ("change", "feature", "words"),
    [
        (wrong_size, "height", "27"),
        (wrong_label, "label", "10"),
        (no_image, "image", "missing|fewer"),
        (colour, "channels", "3"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_data_that_breaks_the_schema_is_named(
    tmp_path: Path, change: Callable[[tf.train.Example], None], feature: str, words: str
) -> None:
    (line,) = anomalies_of(tmp_path, change)
    assert line.startswith(f"- split train, feature {feature}: ")
    assert any(word in line for word in words.split("|"))


def test_clean_data_passes(tmp_path: Path) -> None:
    assert anomalies_of(tmp_path, lambda _: None) == []


def test_a_data_set_without_a_schema() -> None:
    with pytest.raises(
        DataError,
        match=r"no schema for the data set 'moons': .* there are schemas for "
        r"\['fashion_mnist', 'mnist'\]",
    ):
        schema_text("moons")


@pytest.mark.parametrize(
    ("shape", "classes", "message"),
    [
        ((32, 28, 1), 10, "has height 32, the schema demands 28"),
        ((28, 28, 1), 5, "data.classes is 5, .* from 0 to 9"),
    ],
)
def test_settings_that_contradict_the_schema(
    shape: tuple[int, int, int], classes: int, message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        check_schema(schema_text("mnist"), shape, classes)
    check_schema(schema_text("mnist"), (28, 28, 1), 10)


def test_the_curated_schemas_name_their_classes() -> None:
    assert names_in(schema_text("mnist")) == tuple("0123456789")
    assert names_in(schema_text("fashion_mnist"))[0] == "T-shirt/top"
    for name in ("mnist", "fashion_mnist"):
        check_schema(schema_text(name), (28, 28, 1), 10)


def test_names_of_own_images_come_back_from_the_schema() -> None:
    names = ("cat, grey", "\u732b", "[a]", 'a "b"')
    text = schema_of("image_folder/a", (6, 5, 3), 4, names)
    assert names_in(text) == names
    check_schema(text, (6, 5, 3), 4, names)


@pytest.mark.parametrize(
    ("dataset", "names", "message"),
    [
        ("image_folder/a", (), "names 0 of 10 classes; name them in label order by data.class"),
        ("image_folder/a", ("cat", "dog"), "names 2 of 10 classes"),
        ("mnist", tuple("0123456798"), "another order: label 8 was 8 and is 9; leave it out"),
        ("mnist", (*"012345678", "nine"), "9 is gone, nine is new"),
    ],
)
def test_names_that_are_missing_or_contradict(
    dataset: str, names: tuple[str, ...], message: str
) -> None:
    text = schema_of(dataset, (28, 28, 1), 10, names)
    with pytest.raises(ConfigError, match=message):
        check_schema(text, (28, 28, 1), 10, names)


def test_a_curated_schema_without_names_takes_those_of_the_configuration(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    text, _, _ = schema_text("mnist").partition("string_domain")
    monkeypatch.setattr(schema, "schema_text", lambda _: text)
    assert names_in(schema_of("moons", (28, 28, 1), 2, ("up", "down"))) == ("up", "down")
