"""`gauntlet models`: every version with its numbers and how it came there."""

import dataclasses
import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner
from rich.console import Console
from three_runs import three_runs

from components.journal import JOURNAL
from components.versions import CARD, NO_CARD, Card, PushedBy, Version, list_versions
from gauntlet.cli import main
from gauntlet.documents import Models
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
    lines = CliRunner().invoke(main, arguments, env={"COLUMNS": "200"}).output.splitlines()
    (forced,) = [line for line in lines if "FORCED by" in line]
    assert "nothing better" in forced
    assert "after all" in lines[-1]
    assert "refused by worst_case,square" in lines[-1]
    assert ["serving;" in line for line in lines[-2:]] == [False, True]
    assert lines[-1].startswith(f"{list_versions(str(root.serving))[-1].version}: serving; ")


def test_a_rollback_without_a_reason_ends_with_its_author() -> None:
    card = Card(kind=PushedBy.ROLLBACK, of="3", by="ada", reason="")
    assert history(card) == "back to version 3, by ada"


def test_a_policy_that_was_replaced_is_not_called_another_purpose() -> None:
    card = Card(kind=PushedBy.REPLACED, by="ada", reason="so", lowered=("gates.clean is 0",))
    assert history(card) == "ANOTHER POLICY by ada: so"
    card = dataclasses.replace(card, replaced=("epsilon is 0.1, not 0.2",))
    assert history(card) == "ANOTHER PURPOSE by ada: so"


def test_a_version_that_was_not_compared_says_so() -> None:
    reason = "the champion knows other classes (cat is gone), accepted"
    card = Card(not_compared=reason, class_names=("cow", "dog"))
    version = Version(version="3", serving=True, card=card)
    console = Console(width=200, record=True, file=io.StringIO())
    console.print(version_table("serving", [version]))
    assert f"not compared: {reason}" in console.export_text()
    (plain,) = Models.of([version]).plain()["versions"]
    assert (plain["class_names"], plain["not_compared"]) == (("cow", "dog"), reason)


def test_the_list_as_json_has_the_keys_of_the_cards(root: Root, tmp_path: Path) -> None:
    file = tmp_path / "list.json"
    done = CliRunner().invoke(main, ["models", "--root", str(root), "--json", str(file)])
    assert done.exit_code == 0
    listed = json.loads(file.read_text())["versions"]
    common = {"version", "serving", "model", "model_id", "clean", "worst_case", "certified"}
    common |= {"kind", "run_id", "pushed_at", "manifest_sha256", "push"}
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


def of_purpose(worst_case: float, dataset: str = "mnist") -> Card:
    purpose = {"dataset": dataset, "epsilon": 0.2, "norm": "linf"}
    return Card(worst_case=worst_case, terms={"purpose": purpose, "policy": {}})


def table_of(*versions: Version, known: tuple[Card, ...] = ()) -> str:
    console = Console(width=250, record=True, file=io.StringIO())
    console.print(version_table("serving", [*versions], known))
    return console.export_text()


def test_the_difference_to_the_best_for_the_same_purpose_is_shown() -> None:
    cards = [of_purpose(0.94), of_purpose(0.93), of_purpose(0.2, "fashion_mnist"), Card()]
    versions = [Version(version=f"{n}", serving=False, card=c) for n, c in enumerate(cards)]
    text = table_of(*versions, known=(of_purpose(0.95),))
    rows = [line.split() for line in text.splitlines() if "%" in line]
    assert [[cell for cell in row if cell[0] in "+-" and cell != "-"] for row in rows] == [
        ["-1.00%"], ["-2.00%"], ["+0.00%"],
    ]  # fmt: skip
    assert "fashion_mnist, linf, epsilon 0.2" in text
    alone = table_of(versions[0]).splitlines()
    assert alone[0].strip() == "Versions in serving, for mnist, linf, epsilon 0.2"
    assert max(map(len, alone)) <= 80
    assert "to best" not in table_of(versions[-1]), "nobody knows what it is for"


def test_states_are_shown(tmp_path: Path) -> None:
    damaged = Version(version="3", serving=True, card=Card(), problem="a[1].pb: it was changed")
    stray = Version(version="4", serving=False, card=Card(), problem=NO_CARD)
    text = table_of(damaged, stray)
    assert "serving; DAMAGED: a[1].pb: it was changed" in text
    assert "not to be served again: it has no card" in text
    listed, _ = Models.of([damaged, dataclasses.replace(damaged, problem="")]).plain()["versions"]
    assert list(listed)[:2] == ["version", "serving"]
    assert listed["problem"] == "a[1].pb: it was changed"
    assert table_of(Version(version="5", serving=True, card=Card())).count("not verified") == 1


def test_a_listing_survives_whatever_lies_there(tmp_path: Path) -> None:
    root = three_runs(tmp_path)
    first = list_versions(str(root.serving))[0].version
    (root.serving / first / CARD).write_text('{"kind": "rollback"')
    (root.serving / JOURNAL).open("a").write("cut")
    (root.folder / "metadata.sqlite").write_bytes(b"no database, " * 100)
    arguments = ["models", "--root", str(root)]
    done = CliRunner().invoke(main, arguments, env={"COLUMNS": "300"})
    assert done.exit_code == 0, done.output
    for part in (
        "DAMAGED: its card is damaged", "serving", "lines that cannot be read: 5",
        "not compared with the metadata",
    ):  # fmt: skip
        assert part in done.output
    (root.serving / JOURNAL).unlink()
    done = CliRunner().invoke(main, arguments, env={"COLUMNS": "300"})
    assert done.exit_code == 0, done.output
    assert "Note: the journal in" in done.output
    assert f"has no line on {list_versions(str(root.serving))[-1].version}: it was" in done.output


def test_the_journal_is_shown(root: Root, tmp_path: Path) -> None:
    file = tmp_path / "journal.json"
    arguments = ["models", "--journal", "--root", str(root), "--json", str(file)]
    done = CliRunner().invoke(main, arguments, env={"COLUMNS": "250"})
    assert done.exit_code == 0, done.output
    for part in ("forced", "rollback", "withdrawn", "nothing better", "(uid"):
        assert part in done.output
    entries = json.loads(file.read_text())["entries"]
    assert {"run", "forced", "rollback"} < {entry["what"] for entry in entries}
    done = CliRunner().invoke(main, ["models", "--journal", "--store", "gs://bucket/x"])
    assert (done.exit_code, "has no journal" in done.output) == (2, True)


READ = """
import os, sys
from click.testing import CliRunner
from gauntlet.cli import main
CliRunner().invoke(main, ["models", "--root", sys.argv[1]])  # imports what it cannot read later
os.setuid(12345)
done = CliRunner().invoke(main, ["models", "--root", sys.argv[1]], env={"COLUMNS": "300"})
print(done.output, done.exception)
sys.exit(done.exit_code)
"""


@pytest.mark.skipif(os.getuid() != 0, reason="only root can become another user")
def test_who_may_only_read_gets_the_list(tmp_path: Path) -> None:
    root = three_runs(tmp_path / "root")
    for folder in (tmp_path, *list(tmp_path.parents)[:3]):
        folder.chmod(folder.stat().st_mode | 0o055)
    before = sorted(root.folder.iterdir())
    done = subprocess.run(
        [sys.executable, "-c", READ, str(root)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "serving" in done.stdout
    assert "Note" not in done.stdout
    assert sorted(root.folder.iterdir()) == before
