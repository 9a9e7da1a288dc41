"""A user's own folder of images: what is derived from it, how it is stored, and what is wrong with
it."""

import io
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from click.testing import CliRunner
from google.protobuf import text_format
from pictures import SHAPE, write_image
from PIL import Image
from tensorflow_metadata.proto.v0 import schema_pb2

from components.datasets import stock, worker
from components.datasets.batches import image_batches
from components.datasets.image_folder import describe, fingerprint, is_folder
from components.datasets.prepare import prepare
from components.schema import derived_schema, schema_text
from components.tfds_example_gen.reading import read_part, split_parts
from foundation.errors import ConfigError, DataError
from gauntlet.cli import main
from gauntlet.configuration import configured


@pytest.fixture
def pets(tmp_path: Path) -> Path:
    """24 training and 6 test images of two classes; every third is a JPEG."""
    root = tmp_path / "pets"
    for split, count in (("train", 12), ("test", 3)):
        for label in ("cat", "dog"):
            for i in range(count):
                ending = "JPG" if i % 3 == 2 else "png"
                write_image(
                    root / split / label / f"{i}.{ending}", seed=hash((split, label, i)) % 1000
                )
    (root / "train" / "cat" / "notes.txt").write_text("no image")
    (root / ".hidden").mkdir()
    return root


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> None:
    """Images are stored in this process; other tests leave it to the child."""
    monkeypatch.setattr(stock, "run", worker.run)


def test_what_is_derived(pets: Path) -> None:
    found = describe(str(pets))
    assert (found.classes, found.image_shape) == (["cat", "dog"], SHAPE)
    assert found.splits == {"train": "train[:22]", "validation": "train[22:]", "test": "test"}
    config = configured(
        "smoke", (f"data.dataset={pets}", "data.test=test[:4]", "seed=3", "trainer.filters=4")
    )
    assert config.data.dataset == str(pets)
    assert (config.data.image_shape, config.data.classes) == (SHAPE, 2)
    assert (config.data.train, config.data.test, config.seed) == ("train[:22]", "test[:4]", 3)


def test_a_split_for_validation_is_used(pets: Path) -> None:
    shutil.copytree(pets / "test", pets / "val")
    assert describe(str(pets)).splits == {"train": "train", "validation": "val", "test": "test"}


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("/a/b", True),
        ("./b", True),
        ("~/b", True),
        ("../b", True),
        ("mnist", False),
        ("emnist/letters", False),
    ],
)
def test_names_of_folders(name: str, expected: bool) -> None:
    assert is_folder(name) is expected


def test_the_derived_schema_is_the_curated_one_for_the_same_numbers() -> None:
    parse = lambda text: text_format.Parse(text, schema_pb2.Schema())  # noqa: E731
    digits = [str(digit) for digit in range(10)]
    assert parse(derived_schema((28, 28, 1), 10, digits)) == parse(schema_text("mnist"))
    domains = {f.name: f.int_domain for f in parse(derived_schema((6, 5, 3), 2)).feature}
    assert [(domains[n].min, domains[n].max) for n in ("height", "width", "channels")] == [
        (6, 6),
        (5, 5),
        (3, 3),
    ]
    assert domains["label"].max == 1


def test_stored_images_are_the_users(pets: Path, tmp_path: Path) -> None:
    """Through the preparing process, ExampleGen's reader and the evaluation's: pixels, labels and
    names."""
    prepared = prepare(str(pets), str(tmp_path / "data"))
    assert prepared.splits == {"train": 24, "test": 6}
    (batch,) = image_batches(prepared, "test", 10)
    assert len(batch.ids) == 6
    for pixels, label, name in zip(batch.x, batch.y, batch.ids, strict=True):
        path = pets / name.decode()
        assert path.parts[-2] == ("cat", "dog")[label]
        expected = np.asarray(Image.open(io.BytesIO(path.read_bytes())))
        np.testing.assert_array_equal(np.round(pixels * 255), expected)
    import tensorflow_datasets as tfds

    parts = split_parts(tfds.builder_from_directory(prepared.directory), {"test": "test"}, 2)
    examples = [
        tf.train.Example.FromString(e)
        for _, part, *_ in parts
        for e in read_part(part, prepared.directory)
    ]
    rows = {e.features.feature["id"].bytes_list.value[0]: e.features.feature for e in examples}
    assert set(rows) == set(batch.ids)
    sizes = {
        tuple(r[n].int64_list.value[0] for n in ("height", "width", "channels"))
        for r in rows.values()
    }
    assert sizes == {SHAPE}


def test_a_part_of_the_training_split_holds_all_classes(
    pets: Path, tmp_path: Path, here: None
) -> None:
    """The files are sorted by class; what is held out must not be one class."""
    for i in range(60):
        write_image(pets / "train" / "cat" / f"more{i}.png", i)
        write_image(pets / "train" / "dog" / f"more{i}.png", 100 + i)
    prepared = prepare(str(pets), str(tmp_path / "data"))
    (held_out,) = image_batches(prepared, "train[120:]", 100)
    assert set(held_out.y) == {0, 1}


def test_the_same_images_are_stored_once(
    pets: Path, tmp_path: Path, here: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = prepare(str(pets), str(tmp_path / "data"))
    moved = tmp_path / "elsewhere"
    shutil.copytree(pets, moved)
    monkeypatch.setattr("components.datasets.stock.run", None)
    assert prepare(str(moved), str(tmp_path / "data")) == first


@pytest.mark.parametrize("change", ["content", "name", "more"])
def test_an_edit_is_another_data_set(pets: Path, change: str) -> None:
    before = fingerprint(describe(str(pets)))
    if change == "content":
        write_image(pets / "test" / "cat" / "0.png", 4711)
    elif change == "name":
        (pets / "test" / "cat" / "0.png").rename(pets / "test" / "cat" / "zero.png")
    else:
        write_image(pets / "test" / "dog" / "more.png", 1)
    assert fingerprint(describe(str(pets))) != before


def without_test(root: Path) -> None:
    shutil.rmtree(root / "test")


def without_splits(root: Path) -> None:
    for label in ("cat", "dog"):
        (root / "train" / label).rename(root / label)


def empty_class(root: Path) -> None:
    (root / "train" / "fox").mkdir()


def one_class(root: Path) -> None:
    shutil.rmtree(root / "train" / "dog")


def new_class_in_test(root: Path) -> None:
    write_image(root / "test" / "fox" / "1.png", 1)


def class_without_test(root: Path) -> None:
    shutil.rmtree(root / "test" / "cat")


def garbage_first(root: Path) -> None:
    (root / "train" / "cat" / "0.png").write_bytes(b"no image")


def transparent_first(root: Path) -> None:
    write_image(root / "train" / "cat" / "0.png", 1, "RGBA", (6, 5, 4))


def no_folder(root: Path) -> None:
    shutil.rmtree(root)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (no_folder, "there is no such folder; expected one of SPLIT/CLASS/IMAGE"),
        (
            without_test,
            "has no images in test/CLASS/; expected SPLIT/CLASS/IMAGE.*its folders are train",
        ),
        (without_splits, "has no images in train/CLASS/.*its folders are cat, dog, test, train"),
        (
            empty_class,
            r"fox holds no images \(PNG, JPEG, BMP, GIF, WEBP, TIFF, PPM\); fill it or remove it",
        ),
        (one_class, r"has one class only \(cat\); a classifier needs two or more"),
        (class_without_test, r"test has no image of cat, so nobody could judge.*or remove the cla"),
        (new_class_in_test, "test has classes that .*train has not: fox"),
        (garbage_first, r"cat/0.png cannot be decoded as an image .*; replace or remove it"),
        (transparent_first, "cat/0.png has the colour mode RGBA; expected grey or RGB with 8 bits"),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_a_wrong_layout_is_told_before_anything_runs(
    pets: Path, tmp_path: Path, spoil: Callable[[Path], None], message: str
) -> None:
    spoil(pets)
    with pytest.raises((DataError, ConfigError), match=message):
        configured("smoke", (f"data.dataset={pets}",))
    done = CliRunner().invoke(
        main, ["run", "--set", f"data.dataset={pets}", "--root", str(tmp_path / "root")]
    )
    assert done.exit_code == (2 if spoil is no_folder else 4)
    assert str(pets) in done.stderr.replace("\n", "")
    assert not (tmp_path / "root").exists()


def truncated(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:60])


def other_size(path: Path) -> None:
    write_image(path, 1, shape=(7, 5, 3))


def sixteen_bits(path: Path) -> None:
    Image.fromarray(np.zeros(SHAPE[:2], np.uint16)).save(path)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (truncated, "dog/9.png cannot be decoded as an image .*; replace or remove it"),
        (
            other_size,
            r"has images of 2 sizes \(height x width\): 29 of 6 x 5 \(such as .*\), 1 of 7 x 5 "
            r"\(such as train/dog/9.png\); expected one: have them resized, for instance with "
            r"data.resize=6,5",
        ),
        (sixteen_bits, "dog/9.png has 16 bits a channel; expected 8"),
    ],
    ids=["truncated", "other-size", "sixteen-bits"],
)
def test_a_wrong_image_is_named_and_nothing_is_left(
    pets: Path, tmp_path: Path, here: None, spoil: Callable[[Path], None], message: str
) -> None:
    spoil(pets / "train" / "dog" / "9.png")
    with pytest.raises(DataError, match=message):
        prepare(str(pets), str(tmp_path / "data"))
    left = [
        path for path in (tmp_path / "data").rglob("*") if path.is_file() and path.suffix != ".lock"
    ]
    assert left == []
    write_image(pets / "train" / "dog" / "9.png", 9)
    assert prepare(str(pets), str(tmp_path / "data")).splits == {"train": 24, "test": 6}


def test_settings_that_disagree_with_the_images(pets: Path) -> None:
    from components.schema import check_schema

    config = configured("smoke", (f"data.dataset={pets}", "data.classes=7", "trainer.filters=4"))
    with pytest.raises(
        ConfigError, match=r"data\.classes is 7, but the schema's labels go from 0 to 1"
    ):
        check_schema(
            derived_schema(describe(str(pets)).image_shape, 2),
            config.data.image_shape,
            config.data.classes,
        )


def test_a_cluster_cannot_read_a_folder(pets: Path, tmp_path: Path) -> None:
    arguments = [
        "compile",
        "--target",
        "kfp-v2",
        "--image",
        "i",
        "--output",
        str(tmp_path / "out.yaml"),
        "--pipeline-root",
        "gs://b/f",
    ]
    done = CliRunner().invoke(main, [*arguments, "--set", f"data.dataset={pets}"])
    assert done.exit_code == 2
    said = "data.dataset that is a folder of this machine: its container does not see it"
    assert said in done.stderr.replace("\n", " ")
