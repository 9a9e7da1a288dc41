"""Wrong usage of the commands about models in production."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from gauntlet.cli import main


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["bless", "--reason", "x"], "say --force"),
        (["bless", "--force"], "--reason takes a text"),
        (["models", "--root", "nowhere"], "there is no folder"),
        (["rollback", "--root", "gs://bucket/x"], "expected a local folder"),
    ],
)
def test_wrong_usage(
    arguments: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs").mkdir()
    done = CliRunner().invoke(main, arguments, env={"COLUMNS": "300"})
    assert done.exit_code == 2
    assert message in done.output
