"""What is stored of a folder: exact pixels, whatever the files were, and notes on them."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from pictures import write_folder, write_image
from PIL import Image

from components.datasets import image_folder, stock, worker
from components.datasets.batches import Batch, image_batches
from components.datasets.folder.content import ORIENTATION
from components.datasets.folder.store import NOTES, read_notes
from components.datasets.image_folder import describe, fingerprint
from components.datasets.prepare import PreparedDataset, prepare
from foundation.errors import ConfigError, DataError
from trainer.preprocessing import decode_images, preprocessing_fn


@pytest.fixture(autouse=True)
def here(monkeypatch: pytest.MonkeyPatch) -> None:
    """Images are stored in this process."""
    monkeypatch.setattr(stock, "run", worker.run)


@pytest.fixture
def pets(tmp_path: Path) -> Path:
    return write_folder(tmp_path / "pets")


def stored(prepared: PreparedDataset, split: str) -> Batch:
    (batch,) = image_batches(prepared, split, 1000)
    return batch


def rows(batch: Batch) -> dict[str, np.ndarray]:
    """Grey levels by name."""
    return {
        name.decode(): np.round(x * 255).astype(np.uint8)
        for name, x in zip(batch.ids, batch.x, strict=True)
    }


@pytest.mark.parametrize(
    ("name", "format"),
    [
        ("webp.jpg", "WEBP"),
        ("tiff.png", "TIFF"),
        ("bmp.bmp", "BMP"),
        ("jpeg.png", "JPEG"),
        ("ppm.ppm", "PPM"),
        ("[a b]*?\n.png", "PNG"),
        ("\u00e9\u4e2d.png", "PNG"),
    ],
)
def test_every_format_gives_the_same_pixels_to_all_who_read(
    pets: Path, tmp_path: Path, name: str, format: str
) -> None:
    """ExampleGen's reader, the evaluation's, and a server that gets the stored image."""
    import tensorflow_datasets as tfds

    from components.tfds_example_gen.reading import read_part, split_parts

    write_image(pets / "test" / "cat" / name, 1, format=format)
    with Image.open(pets / "test" / "cat" / name) as image:
        expected = np.asarray(image)
    prepared = prepare(str(pets), str(tmp_path / "data"))
    evaluated = stored(prepared, "test").x[
        stored(prepared, "test").ids.index(f"test/cat/{name}".encode())
    ]
    parts = split_parts(tfds.builder_from_directory(prepared.directory), {"test": "test"}, 1)
    examples = [
        tf.train.Example.FromString(e)
        for _, part, *_ in parts
        for e in read_part(part, prepared.directory)
    ]
    features = {e.features.feature["id"].bytes_list.value[0]: e.features.feature for e in examples}
    png = features[f"test/cat/{name}".encode()]["image"].bytes_list.value[0]
    served = decode_images(tf.constant([png]), expected.shape)[0].numpy()
    np.testing.assert_array_equal(np.round(evaluated * 255), expected)
    np.testing.assert_allclose(served, evaluated, atol=1e-7)


@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_a_server_that_gets_the_original_sees_what_was_evaluated(tmp_path: Path, mode: str) -> None:
    """Larger, smaller and other ones; bit for bit."""
    root, sizes = tmp_path / "pets", [(40, 31), (9, 30), (12, 10), (64, 5), (7, 7)]
    for split in ("train", "test"):
        for label in ("cat", "dog"):
            for i, size in enumerate(sizes):
                channels = 3 if mode == "RGB" else 1
                write_image(root / split / label / f"{i}.png", f"{split}{label}{i}", mode,
                            (*size, channels))  # fmt: skip
    with pytest.raises(DataError, match="5 sizes"):
        prepare(str(root), str(tmp_path / "data"))
    prepared = prepare(str(root), str(tmp_path / "data"), resize=(12, 10))
    channels = 3 if mode == "RGB" else 1
    settings = {"image_shape": [12, 10, channels], "resize": True}
    graph = tf.function(lambda image: preprocessing_fn({"image": image, "label": image}, settings))
    batch = stored(prepared, "test")
    assert batch.x.shape == (10, 12, 10, channels)
    originals = [(root / name.decode()).read_bytes() for name in batch.ids]
    served = graph(tf.constant(originals)[:, tf.newaxis])["image"].numpy()
    np.testing.assert_array_equal(np.round(served * 255), np.round(batch.x * 255))
    untouched = rows(batch)["test/cat/2.png"]
    with Image.open(root / "test/cat/2.png") as image:
        np.testing.assert_array_equal(np.squeeze(untouched), np.asarray(image))


def test_another_size_is_another_data_set(pets: Path, tmp_path: Path) -> None:
    names = {prepare(str(pets), str(tmp_path / "d"), size).name for size in (None, (4, 4), (5, 5))}
    assert len(names) == 3
    with pytest.raises(ConfigError, match="only a folder of images is resized"):
        prepare("mnist", None, (4, 4))


def test_the_order_of_labels_is_that_of_numbers(tmp_path: Path) -> None:
    import tensorflow_datasets as tfds

    root = write_folder(tmp_path / "digits", tuple(map(str, range(11))), train=1, test=1)
    prepared = prepare(str(root), str(tmp_path / "data"))
    for name, label in zip(stored(prepared, "test").ids, stored(prepared, "test").y, strict=True):
        assert int(name.decode().split("/")[1]) == label
    names = tfds.builder_from_directory(prepared.directory).info.features["label"].names
    assert names == describe(str(root)).classes == [*map(str, range(11))]


def test_other_class_names_are_other_data(pets: Path, tmp_path: Path) -> None:
    """Also where somebody edits them in the prepared folder."""
    before = prepare(str(pets), str(tmp_path / "data"))
    names = Path(before.directory) / "label.labels.txt"
    names.write_text(names.read_text().replace("cat", "cow"))
    after = prepare(str(pets), str(tmp_path / "data"))
    assert (before.name, before.fingerprint == after.fingerprint) == (after.name, False)


def test_turned_and_opaque_images_are_counted_and_named(pets: Path, tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    write_image(pets / "train" / "cat" / "turned.png", 1, shape=(5, 6, 3), exif=exif)
    opaque = Image.fromarray(np.zeros((6, 5, 3), np.uint8))
    opaque.putalpha(255)
    opaque.save(pets / "test" / "dog" / "opaque.png")
    prepared = prepare(str(pets), str(tmp_path / "data"))
    assert read_notes(Path(prepared.directory)) == [
        "images turned as their EXIF orientation says: 1 (train/cat/turned.png)",
        "images whose alpha channel, wholly opaque, was left out: 1 (test/dog/opaque.png)",
    ]
    with Image.open(pets / "train" / "cat" / "turned.png") as image:
        np.testing.assert_array_equal(
            rows(stored(prepared, "train"))["train/cat/turned.png"],
            np.rot90(np.asarray(image), -1),
        )


def test_the_same_pixels_twice_are_counted_and_named(pets: Path, tmp_path: Path) -> None:
    """As another file format, so that no file is the same as another."""
    Image.open(pets / "train/cat/0.png").save(pets / "test/cat/again.bmp")
    Image.open(pets / "train/cat/0.png").save(pets / "train/dog/other.tif")
    Image.open(pets / "train/dog/1.png").save(pets / "train/dog/same.bmp")
    Image.open(pets / "test/dog/1.png").save(pets / "test/cat/dog.bmp")
    prepared = prepare(str(pets), str(tmp_path / "data"))
    assert sorted(read_notes(Path(prepared.directory))) == [
        "images in test with the pixels of an image in train: 1 (test/cat/again.bmp)",
        "images in test with the pixels of an image of another class: 1 (test/dog/1.png "
        "as test/cat/dog.bmp)",
        "images in train with the pixels of an image of another class: 1 (train/dog/other.tif "
        "as train/cat/0.png)",
    ]


def test_what_is_taken_and_the_notes_are_told_each_time(
    pets: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    shutil.copy(pets / "train/cat/0.png", pets / "test/cat/0.png")
    caplog.set_level("INFO", "gauntlet")
    told = []
    for _ in range(2):
        caplog.clear()
        prepare(str(pets), str(tmp_path / "data"))
        told.append([r.getMessage() for r in caplog.records if vars(r).get("stays")])
    assert told[0] == told[1] == [
        f"{pets}: RGB images of 6 x 5 (height x width), 2 classes; 10 PNG",
        "  test: 4 images: 2 cat, 2 dog",
        "  train: 6 images: 3 cat, 3 dog",
        "  note: images in test with the pixels of an image in train: 1 (test/cat/0.png)",
    ]  # fmt: skip


def test_a_split_alone_can_be_evaluated(tmp_path: Path) -> None:
    root = write_folder(tmp_path / "only", test=2)
    prepared = prepare(str(root), str(tmp_path / "data"))
    assert prepared.splits == {"test": 4}


def test_a_prepared_version_folder_is_used_as_it_is(pets: Path, tmp_path: Path) -> None:
    first = prepare(str(pets), str(tmp_path / "data"))
    assert prepare(str(pets), first.directory) == first
    assert prepare(first.name, first.directory, (6, 5)) == first
    write_image(pets / "train" / "cat" / "new.png", 1)
    with pytest.raises(DataError, match=f"holds the data set '{first.name}', expected"):
        prepare(str(pets), first.directory)


def test_what_an_older_version_stored_is_not_used(
    pets: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It decoded JPEG otherwise."""
    first = prepare(str(pets), str(tmp_path / "data"))
    monkeypatch.setattr(image_folder, "VERSION", "9.0.0")
    with pytest.raises(DataError, match=r"was prepared by version 2\.0\.0, .*expected 9\.0\.0"):
        prepare(str(pets), first.directory)


def test_data_do_not_go_into_the_folder_of_the_images(pets: Path) -> None:
    with pytest.raises(ConfigError, match="lies in the folder of the images themselves"):
        prepare(str(pets), str(pets / "data"))
    assert not (pets / "data").exists()


def test_a_file_that_changes_meanwhile_is_noticed(
    pets: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def late(preparation: stock.Preparation) -> None:
        write_image(pets / "train" / "cat" / "0.png", 4711)
        worker.run(preparation)

    monkeypatch.setattr(stock, "run", late)
    with pytest.raises(DataError, match="was changed while it was being prepared; run again"):
        prepare(str(pets), str(tmp_path / "data"))


def test_damaged_notes_are_told(pets: Path, tmp_path: Path) -> None:
    prepared = prepare(str(pets), str(tmp_path / "data"))
    (Path(prepared.directory) / NOTES).write_text("{")
    with pytest.raises(DataError, match=f"{NOTES} is damaged: remove "):
        prepare(str(pets), str(tmp_path / "data"))


def test_the_fingerprint_is_of_content_names_and_size(pets: Path, tmp_path: Path) -> None:
    first = fingerprint(describe(str(pets)))
    assert fingerprint(describe(str(shutil.copytree(pets, tmp_path / "copy")))) == first
    assert fingerprint(describe(str(pets), (6, 5))) != first
    (pets / "train" / "cat").rename(pets / "train" / "cow")
    (pets / "test" / "cat").rename(pets / "test" / "cow")
    assert fingerprint(describe(str(pets))) != first
