"""`gauntlet models`: every version with its numbers and how it came there."""

import io
import json
from pathlib import Path

import pytest
from click.testing import CliRunner
from rich.console import Console
from three_runs import three_runs

from components.versions import Card, PushedBy, Version, list_versions
from gauntlet.cli import main
from gauntlet.tables.models import history, version_table
from pipeline.production.forced_push import push_refused
from pipeline.production.requests import ForcedPush, Rollback
from pipeline.production.rollback import serve_again
from pipeline.root.root import Root


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Root:
    """Two versions by runs, one by force, back to the second, and forward to the forced one."""
    root = three_runs(tmp_path_factory.mktemp("root"))
    forced = push_refused(ForcedPush(root=root, reason="nothing better"))
    serve_again(Rollback(root=root, reason="slow"))
    serve_again(Rollback(root=root, version=forced.version, reason="after all"))
    return root


def test_how_each_version_came_there_is_listed(root: Root) -> None:
    arguments = ["models", "--root", str(root)]
    lines = CliRunner().invoke(main, arguments, env={"COLUMNS": "200"}).output.splitlines()[:-1]
    (forced,) = [line for line in lines if "FORCED by" in line]
    assert "nothing better" in forced
    assert "after all" in lines[-1]
    assert "refused by worst_case,square" in lines[-1]
    assert ["serving" in line for line in lines[-2:]] == [False, True]


def test_a_rollback_without_a_reason_ends_with_its_author() -> None:
    card = Card(kind=PushedBy.ROLLBACK, of="3", by="ada", reason="")
    assert history(card) == "back to version 3, by ada"


def test_a_version_that_was_not_compared_says_so() -> None:
    reason = "the champion knows other classes (cat is gone), accepted"
    card = Card(not_compared=reason, class_names=("cow", "dog"))
    version = Version(version="3", serving=True, card=card)
    console = Console(width=200, record=True, file=io.StringIO())
    console.print(version_table("serving", [version]))
    assert f"not compared: {reason}" in console.export_text()
    plain = version.plain()
    assert (plain["class_names"], plain["not_compared"]) == (("cow", "dog"), reason)


def test_the_list_as_json_has_the_keys_of_the_cards(root: Root, tmp_path: Path) -> None:
    file = tmp_path / "list.json"
    done = CliRunner().invoke(main, ["models", "--root", str(root), "--json", str(file)])
    assert done.exit_code == 0
    listed = json.loads(file.read_text())
    common = {"version", "serving", "model", "model_id", "clean", "worst_case", "certified"}
    common |= {"kind", "run_id", "pushed_at", "manifest_sha256"}
    by_hand = {"by", "at", "reason"}
    assert [set(entry) - common for entry in listed] == [
        set(),
        set(),
        by_hand | {"refused_by"},
        by_hand | {"of"},
        by_hand | {"of", "refused_by"},
    ]
    assert [entry["version"] for entry in listed] == [
        version.version for version in list_versions(str(root.serving))
    ]
    assert [entry["serving"] for entry in listed] == [False] * 4 + [True]


def test_nothing_was_pushed(tmp_path: Path) -> None:
    done = CliRunner().invoke(main, ["models", "--root", str(tmp_path)])
    assert done.exit_code == 0
    assert f"nothing has been pushed in {tmp_path} yet" in done.output
