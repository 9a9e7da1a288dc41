"""Folders of spans: which one is taken, and what looks like one."""

from pathlib import Path

import pytest
from pictures import write_folder

from components.datasets.folder.spans import note, number, spans
from components.datasets.image_folder import describe
from foundation.errors import DataError
from gauntlet.configuration import configured


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("span-1", 1), ("span-012", 12), ("span-2026-11-01", 20261101), ("span-20261101", 20261101),
        ("span-0", None), ("span-", None), ("span-x", None), ("span_2", None), ("Span-3", None),
        ("span-\u00b2", None), ("span-\u0661", None), ("span-2026-13-01", None),
        ("span-2026-1-1", None), ("span-2026-W44-7", None), ("span--1", None), ("notes", None),
        ("span-" + "9" * 40, None),
    ],
)  # fmt: skip
def test_names_are_numbers_or_dates(name: str, expected: int | None) -> None:
    assert number(name) == expected


def make(root: Path, *names: str) -> Path:
    for name in names:
        write_folder(root / name, train=1, test=1)
    return root


def test_dates_are_in_order(tmp_path: Path) -> None:
    make(tmp_path, "span-2026-11-01", "span-2025-12-31", "span-2026-02-28")
    data = configured("smoke", (f"data.dataset={tmp_path}", "trainer.filters=4")).data
    assert list(spans(str(tmp_path))) == [20251231, 20260228, 20261101]
    assert (data.span, data.dataset) == (20261101, str(tmp_path / "span-2026-11-01"))


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (("span-1", "span-01"), "span-01 and span-1 are the same span, 1; expected one folder"),
        (("span-20261101", "span-2026-11-01"), "are the same span, 20261101"),
        (("span-7", "span-2026-11-01"), "spans with numbers and spans with dates: .* order"),
        (("span-1", "train"), "has spans and, beside them, train; expected one of both"),
    ],
)
def test_a_series_that_is_not_clear_is_refused(
    tmp_path: Path, names: tuple[str, ...], message: str
) -> None:
    with pytest.raises(DataError, match=message):
        configured("smoke", (f"data.dataset={make(tmp_path, *names)}",))


def test_what_looks_like_a_span_is_named(tmp_path: Path) -> None:
    make(tmp_path, "span-9", "span-10", "span_11", "Span-12", "span-x", "spanish", "notes")
    (tmp_path / "span-13.zip").touch()
    (tmp_path / "span-14").touch()
    assert note(tmp_path / "span-10") == (
        "span-10 is the newest of 2; not understood, and passed over: Span-12, span-13.zip, "
        "span-14, span-x, span_11 (expected span-N or span-YYYY-MM-DD)"
    )
    assert note(tmp_path / "span-9") == (
        "span-9 is not the newest, which is span-10; not understood, and passed over: Span-12, "
        "span-13.zip, span-14, span-x, span_11 (expected span-N or span-YYYY-MM-DD)"
    )
    assert note(tmp_path / "notes") is None


def test_misspelt_spans_alone_are_asked_for(tmp_path: Path) -> None:
    with pytest.raises(
        DataError, match=r"has no images in train.*is one of these meant for a span"
    ):
        describe(str(make(tmp_path, "span_1", "span_2")))


def test_the_newest_complete_one_is_taken_and_newer_ones_are_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make(tmp_path, "span-1", "span-2")
    write_folder(tmp_path / "span-3", train=1)
    settings = (f"data.dataset={tmp_path}", "trainer.filters=4")
    config = configured("smoke", settings)
    assert (config.data.span, config.data.dataset) == (2, str(tmp_path / "span-2"))
    told = " ".join(capsys.readouterr().out.split())
    assert "span 3 is not complete, an older one is taken: " in told
    assert "has no images in test/CLASS/" in told
    assert "span 2 is taken" in told
    with pytest.raises(DataError, match="has no images in test/CLASS/"):
        configured("smoke", (*settings, "data.span=3"))


def test_where_no_span_is_complete_nothing_is_taken(tmp_path: Path) -> None:
    for each in ("span-1", "span-2"):
        write_folder(tmp_path / each, train=1)
    with pytest.raises(DataError, match="has no images in test/CLASS/"):
        configured("smoke", (f"data.dataset={tmp_path}", "trainer.filters=4"))


def test_a_folder_of_spans_is_no_folder_of_images(tmp_path: Path) -> None:
    make(tmp_path, "span-1", "span-2")
    with pytest.raises(DataError, match=r"is a folder of spans; .*name a span, such as .*/span-2"):
        describe(str(tmp_path))
