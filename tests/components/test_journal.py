"""The journal: lines that are only added, and what a power cut leaves of the last one."""

import dataclasses
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from components.journal import JOURNAL, Entry, Journal, append, read


def test_entries_are_read_as_they_were_written(tmp_path: Path) -> None:
    assert read(str(tmp_path)) == Journal()
    entries = (
        Entry(what="run", by="ada", at="now", model="/m", model_sha256="ab", card_sha256="cd"),
        Entry(what="rollback", version="17", reason='too "slow",\nand red', card={"of": "3"}),
    )
    for entry in entries:
        append(str(tmp_path), entry)
    assert read(str(tmp_path)).entries == entries
    assert len((tmp_path / JOURNAL).read_text().splitlines()) == 2


def test_a_line_that_a_power_cut_left_is_named_and_the_next_one_is_whole(tmp_path: Path) -> None:
    append(str(tmp_path), Entry(what="run", version="1"))
    with open(tmp_path / JOURNAL, "a") as file:
        file.write('{"what": "run", "vers')
    assert [entry.version for entry in read(str(tmp_path)).entries] == ["1"]
    append(str(tmp_path), Entry(what="run", version="3"))
    journal = read(str(tmp_path))
    assert [entry.version for entry in journal.entries] == ["1", "3"]
    assert journal.damaged == (2,)


def test_lines_that_are_no_entries(tmp_path: Path) -> None:
    lines = [b"[]", b"null", b'{"what": 3}', b'{"by": "x"}', b'{"what": "run", "version": "../x"}']
    (tmp_path / JOURNAL).write_bytes(b"\n".join([*lines, b"\xff", b'{"what": "x", "later": 1}']))
    journal = read(str(tmp_path))
    assert journal.damaged == tuple(range(1, 7))
    assert [entry.what for entry in journal.entries] == ["x"]


def test_many_at_once_write_whole_lines(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        for number in range(1, 41):
            pool.submit(append, str(tmp_path), Entry(what="run", version=str(number)))
    journal = read(str(tmp_path))
    assert journal.damaged == ()
    assert {entry.version for entry in journal.entries} == {str(n) for n in range(1, 41)}


def test_a_version_is_known_by_its_number_or_before_that_by_its_card(tmp_path: Path) -> None:
    begun, done = (
        Entry(what="run", card_sha256="a"),
        Entry(what="run", card_sha256="b", version="2"),
    )
    journal = Journal(entries=(begun, done))
    assert journal.of("2", "a") == done
    assert journal.of("1", "a") == begun
    assert journal.of("1", "b") is None
    assert journal.of("1") is None
    assert (journal.begin, Journal().begin) == (2, None)


def test_what_was_begun_and_is_done_accounts_for_no_other_version() -> None:
    begun = Entry(what="run", card_sha256="a")
    done = dataclasses.replace(begun, version="2")
    journal = Journal(entries=(begun, done))
    assert journal.of("2", "a") == done
    assert journal.of("3", "a") is None


def test_an_object_store_has_none() -> None:
    append("gs://bucket/serving", Entry(what="run"))
    assert read("gs://bucket/serving") == Journal()


@pytest.mark.parametrize(("folder", "file"), [(0o755, 0o644), (0o2775, 0o664), (0o700, 0o600)])
def test_who_may_read_the_versions_may_read_the_journal_whatever_the_umask(
    tmp_path: Path, folder: int, file: int
) -> None:
    tmp_path.chmod(folder)
    before = os.umask(0o077)
    try:
        append(str(tmp_path), Entry(what="run"))
        assert (tmp_path / JOURNAL).stat().st_mode & 0o777 == file
        (tmp_path / JOURNAL).chmod(0o640)
        append(str(tmp_path), Entry(what="run"))
        assert (tmp_path / JOURNAL).stat().st_mode & 0o777 == 0o640
    finally:
        os.umask(before)
