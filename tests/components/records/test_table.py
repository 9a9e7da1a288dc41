"""`examples.csv`: what is written is read back, and what is no such table is refused."""

import csv
from pathlib import Path

import pytest

from components.records.table import HEADER, Found, read_examples, write_examples
from foundation.errors import DataError

FOUND = [
    Found('a, "b"\nc', 0, 1, "fgsm@undefended", ""),
    Found("Größe", 1, -1, "clean", ""),
    Found("z", 1, 1, "", "ibp"),
]


def test_the_table_is_read_back(tmp_path: Path) -> None:
    write_examples(tmp_path / "examples.csv", FOUND, ["cat, red", "dog"])
    assert read_examples(tmp_path / "examples.csv") == FOUND


def test_the_columns_are_those_of_before_with_a_name_beside_each_class(tmp_path: Path) -> None:
    write_examples(tmp_path / "examples.csv", FOUND, ["cat", "dog"])
    with (tmp_path / "examples.csv").open(newline="", encoding="utf-8") as file:
        header, *rows = csv.reader(file)
    assert header == list(HEADER)
    assert rows[1] == ["Größe", "1", "dog", "-1", "", "clean", ""]


def test_proven_is_what_nothing_broke() -> None:
    assert [each.certified for each in FOUND] == [False, False, True]
    assert not FOUND[2]._replace(broken_by="fgsm@undefended").certified


@pytest.mark.parametrize(
    "text",
    [
        "id,label\na,1\n",
        f"{','.join(HEADER)}\na,1,dog,1,dog,\n",
        f"{','.join(HEADER)}\na,one,dog,1,dog,,\n",
        f'{",".join(HEADER)}\n"a,1,dog,1,dog,,\n',
    ],
    ids=["columns", "cut off", "no number", "quote"],
)
def test_what_is_no_such_table_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "examples.csv").write_text(text)
    with pytest.raises(DataError, match=r"examples\.csv is damaged"):
        read_examples(tmp_path / "examples.csv")
