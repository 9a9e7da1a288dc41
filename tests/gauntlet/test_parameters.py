"""What texts of options become: choices, lists, and paths that are checked and left as they are."""

import os
from enum import StrEnum
from pathlib import Path

import click
import pytest

from foundation.errors import ConfigError, RunError
from gauntlet.parameters import (
    ATTACKS,
    EPSILON,
    EXISTING_ROOT,
    LOCAL_PATH,
    NAMES,
    Choices,
    check_writable,
    created,
)
from pipeline.root.root import Root


class Colour(StrEnum):
    DARK_RED = "dark-red"
    BLUE = "blue"


def test_a_choice_is_a_member_by_its_value() -> None:
    choices = Choices(Colour)
    assert choices.convert("dark-red", None, None) is Colour.DARK_RED
    assert choices.convert(Colour.BLUE, None, None) is Colour.BLUE
    with pytest.raises(click.BadParameter, match=r"'DARK_RED' is not one of 'dark-red', 'blue'"):
        choices.convert("DARK_RED", None, None)


def test_an_epsilon_is_a_number_or_a_fraction_of_grey_levels() -> None:
    values = {"0.1": 0.1, "8/255": 8 / 255, " 0/255 ": 0.0, "1e-3": 0.001}
    assert {text: EPSILON.convert(text, None, None) for text in values} == values
    for text in ("8/0", "8/", "eight", "1/2/3", ""):
        with pytest.raises(
            ConfigError, match=r"epsilon is a number or a fraction, such as 0\.1 or"
        ):
            EPSILON.convert(text, None, None)


def test_attacks_are_those_that_exist_in_the_order_given() -> None:
    assert ATTACKS.convert(" square, pgd:100x5,", None, None) == ("square", "pgd:100x5")
    for text, unknown in (("pgd,blue", "'blue'"), (" , ", "''"), ("pgd,pgd:0", "'pgd:0'")):
        with pytest.raises(ConfigError, match=f"^unknown attack {unknown}; the attacks are fgsm, "):
            ATTACKS.convert(text, None, None)


def test_names_may_have_commas_in_a_list_of_json() -> None:
    assert NAMES.convert("cat, dog", None, None) == ("cat", "dog")
    assert NAMES.convert('["cat, grey", "dog "]', None, None) == ("cat, grey", "dog")
    assert NAMES.convert("[unk],cat", None, None) == ("[unk]", "cat")
    for text in ("cat,,dog", "", '["cat]', '["cat", 3]', "[]", '["cat", " "]'):
        with pytest.raises(ConfigError, match="expected names with commas between them"):
            NAMES.convert(text, None, None)


def test_a_path_is_absolute_and_local(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", "/home/someone")
    assert LOCAL_PATH.convert("runs", None, None) == tmp_path / "runs"
    assert LOCAL_PATH.convert("~/runs", None, None) == Path("/home/someone/runs")
    with pytest.raises(ConfigError, match="expected a local folder, got gs://bucket/x"):
        LOCAL_PATH.convert("gs://bucket/x", None, None)


def test_a_root_must_be_there(tmp_path: Path) -> None:
    assert EXISTING_ROOT.convert(str(tmp_path), None, None) == Root(tmp_path)
    with pytest.raises(ConfigError, match="there is no folder /nowhere; name the root"):
        EXISTING_ROOT.convert("/nowhere", None, None)


def test_a_root_that_cannot_be_read_is_not_empty(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def forbidden(_: Path) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "listdir", forbidden)
    with pytest.raises(ConfigError, match="cannot be read: Permission denied"):
        EXISTING_ROOT.convert(str(tmp_path), None, None)


def test_checking_a_file_leaves_it_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "kept").write_text("text")
    check_writable(tmp_path / "kept")
    check_writable(tmp_path / "new")
    created(tmp_path / "root", "root")
    assert (tmp_path / "kept").read_text() == "text"
    assert sorted(os.listdir(tmp_path)) == ["kept", "root"]
    assert os.listdir(tmp_path / "root") == []


def test_a_folder_that_cannot_be_made_names_its_option(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(
        RunError, match=r"cannot write to the output .*; name another with --output"
    ):
        created(tmp_path / "file" / "folder", "output")


def test_a_pipe_is_not_opened_to_see_whether_it_can_be_written(tmp_path: Path) -> None:
    """That would wait for a reader, and the reader would see the end."""
    os.mkfifo(pipe := tmp_path / "pipe")
    check_writable(pipe)
    assert pipe.is_fifo()
