"""The manifest of a version: the same for the same files, and every change of them is named."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from components.manifest import CARD, MANIFEST, digest_of, verify, write_manifest
from foundation.errors import RunError


@pytest.fixture
def version(tmp_path: Path) -> Path:
    """A version of three files, a card and a manifest."""
    folder = tmp_path / "7"
    for name in ("saved_model.pb", "variables/variables.index", CARD, "assets/a b\u00e9.txt"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(name)
    write_manifest(str(folder))
    return folder


def test_a_version_as_it_was_pushed(version: Path) -> None:
    digest = digest_of(str(version))
    assert verify(str(version)) == verify(str(version), digest) == []
    (version / CARD).write_text("another card says nothing else of the files")
    (version / MANIFEST).unlink()
    assert digest_of(str(version)) == digest, "an export has neither of the two"
    assert write_manifest(str(version)) == digest


def move(version: Path) -> None:
    (version / "saved_model.pb").rename(version / "variables" / "saved_model.pb")


def link(version: Path) -> None:
    (version / "saved_model.pb").rename(version.parent / "elsewhere")
    (version / "saved_model.pb").symlink_to(version.parent / "elsewhere")


def link_folder(version: Path) -> None:
    (version / "variables").rename(version.parent / "elsewhere")
    (version / "variables").symlink_to(version.parent / "elsewhere")


def pipe(version: Path) -> None:
    os.mkfifo(version / "assets" / "pipe")


@pytest.mark.parametrize(
    ("change", "problems"),
    [
        (
            lambda v: (v / "saved_model.pb").write_text("saved_modem.pb"),
            ["saved_model.pb: it was changed"],
        ),
        (lambda v: (v / "saved_model.pb").write_text(""), ["saved_model.pb: it was changed"]),
        (lambda v: (v / "saved_model.pb").unlink(), ["saved_model.pb: it is missing"]),
        (lambda v: (v / "x").touch(), ["x: it was not there when it was pushed"]),
        (
            lambda v: (v / "assets" / "backup~").touch(),  # `epath` passes over such names
            ["assets/backup~: it was not there when it was pushed"],
        ),
        (
            move,
            [
                "saved_model.pb: it is missing",
                "variables/saved_model.pb: it was not there when it was pushed",
            ],
        ),
        (link, ["saved_model.pb: it is a link"]),
        (link_folder, ["variables: it is a link", "variables/variables.index: it is missing"]),
        (pipe, ["assets/pipe: it is no file"]),
        (lambda v: (v / MANIFEST).unlink(), ["it has no manifest"]),
        (lambda v: (v / MANIFEST).write_text("{"), ["its manifest is damaged"]),
        (lambda v: (v / MANIFEST).write_text('{"files": 3}'), ["its manifest is damaged"]),
        (lambda v: (v / MANIFEST).write_text("{}"), ["its manifest is damaged"]),
    ],
)
def test_every_change_is_named(
    version: Path, change: Callable[[Path], object], problems: list[str]
) -> None:
    change(version)
    assert verify(str(version)) == problems


def test_a_manifest_that_was_written_again_is_another_one(version: Path) -> None:
    digest = digest_of(str(version))
    (version / "saved_model.pb").write_text("another model")
    write_manifest(str(version))
    assert verify(str(version)) == []
    assert verify(str(version), digest) == ["its manifest is not the one that it was pushed with"]


def test_an_export_with_a_link_has_no_digest(version: Path) -> None:
    link(version)
    with pytest.raises(RunError, match=r"no plain folder of files: saved_model\.pb: it is a link"):
        digest_of(str(version))
