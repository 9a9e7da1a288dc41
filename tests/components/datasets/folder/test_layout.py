"""Which files of a folder are taken, which are not, and that both are said."""

import os
import socket
import unicodedata
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from pictures import write_folder, write_image

from components.datasets.folder.names import in_order, readable
from components.datasets.folder.summary import summary
from components.datasets.image_folder import describe
from foundation.errors import DataError


@pytest.fixture
def pets(tmp_path: Path) -> Path:
    return write_folder(tmp_path / "pets")


def told(root: Path) -> str:
    return "\n".join(summary(describe(str(root))))


def test_what_is_taken_is_shown_by_split_and_class(pets: Path) -> None:
    write_image(pets / "train" / "cat" / "more.png", 1, format="BMP")
    assert told(pets).splitlines() == [
        f"{pets}: RGB images of 6 x 5 (height x width), 2 classes; 10 PNG, 1 BMP",
        "  test: 4 images: 2 cat, 2 dog",
        "  train: 7 images: 4 cat, 3 dog",
    ]


def test_many_classes_are_shown_by_their_extremes(tmp_path: Path) -> None:
    write_folder(tmp_path, tuple(f"c{i:02d}" for i in range(12)), train=2, test=1)
    write_image(tmp_path / "train" / "c07" / "more.png", 1)
    (tmp_path / "train" / "c03" / "1.png").unlink()
    assert "train: 24 images in 12 classes, 2 in the median; fewest 1 (c03), most 3 (c07)" in told(
        tmp_path
    )


@pytest.mark.parametrize(
    "name",
    [".DS_Store", "._0.png", "Thumbs.db", "desktop.ini", "__MACOSX/0.png", "@eaDir/0.png/x.jpg",
     ".ipynb_checkpoints/0.png", "Icon\r"],
)  # fmt: skip
@pytest.mark.parametrize("place", [".", "train", "train/cat"])
def test_what_other_systems_leave_is_no_data(pets: Path, place: str, name: str) -> None:
    before = describe(str(pets))
    (pets / place / name).parent.mkdir(parents=True, exist_ok=True)
    (pets / place / name).write_bytes(b"\x00\x05\x16\x07")
    assert describe(str(pets)) == before


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (
            ["train/cat/batch2/1.png", "train/cat/batch2/more/2.png"],
            "files not used, in a sub-folder of a class: 2 (train/cat/batch2/1.png, "
            "train/cat/batch2/more/2.png)",
        ),
        (["1.png"], "files not used, in no folder of a class: 1 (1.png)"),
        (["train/1.png"], "files not used, in no folder of a class: 1 (train/1.png)"),
        (
            ["old images/cat/1.png"],
            "files not used, in a folder whose name is no split's: 1 (old images/cat/1.png)",
        ),
        (
            [f"raw/fox/{i}.png" for i in range(5)],
            "files not used, in raw, which has classes that no split has: 5 (raw/fox/0.png, "
            "raw/fox/1.png, raw/fox/2.png, ...)",
        ),
        (["tset/cat/1.png"], "images in tset, a split that no run uses: 1"),
        (["valid/cat/1.png", "val/cat/1.png"], "images in valid, a split that no run uses: 1"),
    ],
    ids=["deeper", "in-root", "in-split", "no-split", "strangers", "tset", "two-validations"],
)
def test_files_that_are_not_used_are_counted_and_named(
    pets: Path, names: list[str], message: str
) -> None:
    for name in names:
        write_image(pets / name, name)
    assert f"note: {message}" in told(pets)


def test_files_of_other_kinds_in_a_class_are_counted_and_named(pets: Path) -> None:
    for name in ("notes.txt", "labels.csv", "empty", "movie.mp4"):
        (pets / "train" / "dog" / name).write_text("" if name == "empty" else "text")
    assert (
        "files not used, in a class, and no image: 4 (train/dog/empty, train/dog/labels.csv, "
        "train/dog/movie.mp4, ...)" in told(pets)
    )


def test_an_image_without_an_ending_is_one(pets: Path) -> None:
    (pets / "train" / "cat" / "0.png").rename(pets / "train" / "cat" / "picture")
    assert "train/cat/picture" in describe(str(pets)).files["train"]


def test_a_class_that_a_split_lacks_is_said(pets: Path) -> None:
    for path in (pets / "test" / "dog").iterdir():
        path.unlink()
    (pets / "test" / "dog").rmdir()
    assert "note: classes without images in test: 1 (dog)" in told(pets)


def test_one_split_alone_has_classes_too(tmp_path: Path) -> None:
    """Enough to evaluate a model, not to train one."""
    found = describe(str(write_folder(tmp_path, test=2)))
    assert (found.classes, list(found.files)) == (["cat", "dog"], ["test"])
    with pytest.raises(DataError, match="has no images in train/CLASS/"):
        _ = found.splits


def test_files_that_cannot_be_taken_are_told_all_together(pets: Path) -> None:
    folder = pets / "train" / "cat"
    os.mkfifo(folder / "pipe")
    (folder / "gone.png").symlink_to("nowhere")
    (folder / "empty.png").touch()
    with socket.socket(socket.AF_UNIX) as server:
        here = Path.cwd()
        os.chdir(folder)  # a name of a socket is short
        try:
            server.bind("socket.png")
        finally:
            os.chdir(here)
    for i in range(9):
        (folder / f"text{i}.png").write_text("no image")
    with pytest.raises(DataError) as error:
        describe(str(pets))
    message = str(error.value)
    assert message.startswith("13 of 23 files cannot be taken:\n")
    assert f"{folder}/empty.png is empty; replace or remove it" in message
    assert f"{folder}/gone.png is a link to nothing; mend or remove it" in message
    assert f"{folder}/pipe is no file but a pipe" in message
    assert f"{folder}/socket.png is no file but a pipe, a socket" in message
    assert message.endswith("and 3 more")


def test_links_within_the_folder_are_followed(pets: Path) -> None:
    before = describe(str(pets))
    (pets / ".kept").mkdir()
    (pets / "train" / "cat").rename(pets / ".kept" / "cat")
    (pets / "train" / "cat").symlink_to(pets / ".kept" / "cat")
    (pets / "test" / "dog" / "0.png").rename(pets / ".kept" / "a")
    (pets / "test" / "dog" / "0.png").symlink_to("../../.kept/a")
    (pets / "test" / "dog" / "circle").symlink_to(pets)
    assert describe(str(pets)).files == before.files


def test_a_folder_may_be_named_by_a_link(pets: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(pets)
    assert describe(str(tmp_path / "link")).files == describe(str(pets)).files


@pytest.mark.parametrize(
    ("place", "target"),
    [
        ("train/dog/9.png", "elsewhere/9.png"),
        ("train/dog/zero.png", "/dev/zero"),
        ("train/dog/gone.png", "/nowhere/1.png"),
        ("train/dog/up.png", "../../../elsewhere/9.png"),
        ("train/fox", "elsewhere"),
        ("validation", "elsewhere"),
        ("train/dog/more/deeper", "elsewhere"),
        ("all", "/"),
        ("train/dog/two", "../../other"),
    ],
)
def test_links_that_leave_the_folder_are_refused(
    pets: Path, tmp_path: Path, place: str, target: str
) -> None:
    write_image(tmp_path / "elsewhere" / "9.png", 1)
    (pets / place).parent.mkdir(exist_ok=True)
    inside = place.endswith("two")
    if inside:
        (pets / "other").symlink_to(tmp_path / "elsewhere")
    (pets / place).symlink_to(tmp_path / target if target.startswith("elsewhere") else target)
    count = 2 if inside else 1
    with pytest.raises(DataError) as error:
        describe(str(pets))
    first, *lines = str(error.value).splitlines()
    assert first == f"{count} of {count} links cannot be taken:"
    begin = f"{pets}/{place} is a link that leaves the folder, to /"
    assert any(line.startswith(begin) for line in lines)


def test_a_folder_with_the_name_of_an_image_is_a_folder(pets: Path) -> None:
    write_image(pets / "train" / "dog" / "9.png" / "1.png", 1)
    assert "in a sub-folder of a class: 1 (train/dog/9.png/1.png)" in told(pets)


def grey_and_colours(root: Path) -> None:
    write_image(root / "train" / "dog" / "grey.png", 1, "L")


def sizes(root: Path) -> None:
    for i in range(5):
        write_image(root / "train" / "dog" / f"s{i}.png", i, shape=(7 + i, 5, 3))


def two_spellings(root: Path) -> None:
    write_image(root / "train" / "Cat" / "1.png", 1)


def decomposed(root: Path) -> None:
    for name in ("caf\u00e9", "cafe\u0301"):
        write_image(root / "train" / name / "1.png", 1)


def two_lines(root: Path) -> None:
    write_image(root / "train" / "a\nb" / "1.png", 1)


def blank(root: Path) -> None:
    write_image(root / "train" / "fox " / "1.png", 1)


def latin_class(root: Path) -> None:
    write_image(Path(os.fsdecode(os.fsencode(root) + b"/train/\xe9t\xe9/1.png")), 1)


def latin_file(root: Path) -> None:
    write_image(Path(os.fsdecode(os.fsencode(root) + b"/train/cat/\xe9.png")), 1)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (
            grey_and_colours,
            r"has grey images \(1, such as train/dog/grey.png\) and images with colours \(10, su.*"
            r"\); expected one of both: convert all of them",
        ),
        (sizes, r"has images of 6 sizes .*: 10 of 6 x 5 .*, \.\.\.; expected one: .*resize=6,5 "),
        (two_spellings, "the classes 'Cat' and 'cat' differ in spelling only; expected one folder"),
        (decomposed, "'cafe.u0301' and 'caf.xe9' differ in spelling only"),
        (
            decomposed,
            "only .both look like caf\u00e9, in two forms of Unicode.; expected one folder",
        ),
        (two_lines, r"the name of the class 'a\\\\nb' cannot be kept; expected UTF-8 on one line"),
        (blank, "the name of the class 'fox ' cannot be kept"),
        (latin_class, r"/train/\\xe9t\\xe9/1.png has a name that is not UTF-8; rename it"),
        (latin_file, r"1 of 11 files cannot be taken:\n.*/train/cat/\\xe9.png has a name that is"),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_what_is_ambiguous_is_refused_with_the_cure(
    pets: Path, spoil: Callable[[Path], None], message: str
) -> None:
    spoil(pets)
    with pytest.raises(DataError, match=message) as error:
        describe(str(pets))
    str(error.value).encode()  # can be shown


def test_numbers_sort_as_numbers() -> None:
    assert in_order(map(str, range(11)), "train") == [*map(str, range(11))]
    assert in_order(["10", "9", "a"], "train") == ["10", "9", "a"]
    with pytest.raises(DataError, match="the classes '01' and '1' differ in spelling only"):
        in_order(["1", "01", "2"], "train")


@pytest.mark.parametrize("split", ["test", "extra"])
def test_a_class_is_one_in_both_forms_of_unicode(tmp_path: Path, split: str) -> None:
    composed, decomposed = "z\u00e9ro", "ze\u0301ro"
    root = write_folder(tmp_path, (composed, "zz"))
    (root / "test").rename(root / split)
    (root / split / composed).rename(root / split / decomposed)
    found = describe(str(root))
    assert found.classes == ["zz", composed]
    assert f"{split}/{decomposed}/0.png" in found.files[split]
    (root / "train" / composed).rename(root / "train" / decomposed)
    assert describe(str(root)).classes == ["zz", composed], "the order depends on the form"
    write_image(root / split / composed / "1.png", 1)
    with pytest.raises(
        DataError, match=f"{split}: the classes .*look like z\u00e9ro, in two forms"
    ):
        describe(str(root))


LETTERS = [
    "a", "B", " ", ".", "[", "*", "?", "\n", "\t", "\\", "'", '"', ",", "%", "1", "0", "\u00e9",
    "e\u0301", "\u4e2d", "\u202e", "\U0001f408", "\udcff",
]  # fmt: skip


def drawn(rng: np.random.Generator) -> str:
    name = "".join(rng.choice(LETTERS, rng.integers(1, 6)))
    return name if name not in (".", "..") else "dots"


@pytest.mark.parametrize("seed", range(60))
def test_any_name_is_taken_passed_over_or_refused_in_words(seed: int, tmp_path: Path) -> None:
    rng = np.random.default_rng(seed)
    root, label = write_folder(tmp_path, train=1), drawn(rng)
    names = {drawn(rng) for _ in range(3)}
    for name in names:
        write_image(root / "train" / label / name, seed, format="PNG")
    try:
        found = describe(str(root))
    except DataError as error:
        str(error).encode()
        return
    lines = summary(found)
    assert all(line.isprintable() for line in lines)
    assert set(found.classes) <= {"cat", "dog", unicodedata.normalize("NFC", label)}
    assert sum(map(len, found.files.values())) <= 2 + len(names)


def test_names_are_readable_on_one_line() -> None:
    assert readable(os.fsdecode(b"a\xff\nb [1] \xc3\xa9")) == "a\\xff\\nb [1] \u00e9"
