"""Names of classes: which are none, how two lists differ, and the file that carries them."""

import json
from pathlib import Path

import pytest

from foundation.errors import DataError
from trainer.classes import (
    CLASS_NAMES,
    Classes,
    changes,
    class_names_of,
    classes_of,
    differences,
    file_of,
    read_names,
    shown,
    wrong_names,
)

COMPOSED, DECOMPOSED = "caf\u00e9", "cafe\u0301"


@pytest.mark.parametrize(
    ("names", "problem"),
    [
        (("cat", ""), "empty"),
        (("cat", " dog"), "begins or ends with a space"),
        (("cat", "do\ng"), "control character"),
        (("cat", "\x1b[31mdog"), "control character"),
        (("cat", "do\u2028g"), "control character"),
        (("cat", "dog\udcff"), "no valid Unicode"),
        (("cat", "dog", "cat"), "cat comes twice"),
        ((COMPOSED, DECOMPOSED), "comes twice"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_is_no_name(names: tuple[str, ...], problem: str) -> None:
    assert problem in wrong_names(names)


def test_names_that_people_give() -> None:
    assert wrong_names(("cat, grey", "[a]", "\u732b", "$x$", "T-shirt/top", "0")) == ""
    assert wrong_names(()) == ""


@pytest.mark.parametrize(
    ("before", "now", "words"),
    [
        (["cat", "dog"], ["cat", "dog"], ""),
        ([COMPOSED], [DECOMPOSED], ""),
        (["cat", "dog"], ["cow", "dog"], "cat is gone, cow is new"),
        (["cat", "dog"], ["cat", "dog", "fox"], "fox is new"),
        (["cat", "dog", "fox"], ["fox"], "cat, dog are gone"),
        (["1", "10", "2"], ["1", "2", "10"], "another order: label 1 was 10 and is 2"),
        ([], list("abcdefg"), "a, b, c, d, e and 2 more are new"),
    ],
)
def test_how_two_lists_differ(before: list[str], now: list[str], words: str) -> None:
    found = changes(before, now)
    assert found.endswith(words)
    assert bool(found) == bool(words)


def test_without_names_only_the_number_is_compared() -> None:
    old, unknown = Classes(count=3), Classes()
    assert differences(old, Classes.of("abc")) == ""
    assert differences(old, Classes.of("ab")) == "there were 3 classes, now there are 2"
    assert differences(unknown, Classes.of("ab")) == ""
    assert differences(Classes.of("ab"), Classes.of("ac")) == "b is gone, c is new"


def test_the_file_gives_back_what_was_written(tmp_path: Path) -> None:
    names = ("cat, grey", "\u732b", "T-shirt/top")
    (tmp_path / "assets").mkdir()
    (tmp_path / "assets" / CLASS_NAMES).write_bytes(file_of(names))
    assert class_names_of(str(tmp_path)) == read_names(f"{tmp_path}/assets") == names
    assert classes_of(str(tmp_path)) == Classes(names=names, count=3)


@pytest.mark.parametrize("content", [b"cat\ndo", b"cat\n\xff\n", b"cat\ncat\n", b"cat\n\n", b""])
def test_a_damaged_file_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / CLASS_NAMES).write_bytes(content)
    with pytest.raises(DataError, match=f"{CLASS_NAMES} is damaged"):
        read_names(str(tmp_path))


@pytest.mark.parametrize(
    ("settings", "count"), [({"classes": 3}, 3), ({"classes": "3"}, None), ([], None), (None, None)]
)
def test_an_export_of_before_has_a_number_of_classes(
    tmp_path: Path, settings: object, count: int | None
) -> None:
    if settings is not None:
        (tmp_path / "assets.extra").mkdir()
        (tmp_path / "assets.extra" / "settings.json").write_text(json.dumps(settings))
    assert classes_of(str(tmp_path)) == Classes(count=count)


def test_a_label_is_shown_with_its_name() -> None:
    names = ("0", "10", "Sneaker")
    assert [shown(label, names) for label in (0, 1, 2, 3, -1)] == [
        "0", "1 (10)", "2 (Sneaker)", "3", "-1",
    ]  # fmt: skip
