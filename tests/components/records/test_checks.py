"""The honesty checks beside the rows."""

import json
from pathlib import Path

import pytest

from components.records.checks import CHECKS, read_checks, write_checks
from robustness.checks import Check
from robustness.config import CheckName


def test_checks_are_written_as_valid_json_and_read(tmp_path: Path) -> None:
    passed = Check(name=CheckName.PROOFS_HOLD, passed=True, value=0.25, sentence="Yes.")
    failed = Check(name=CheckName.LOGITS_ARE_FINITE, passed=False, value=None, sentence="No.")
    write_checks(str(tmp_path / "artifact"), [passed, failed])
    text = (tmp_path / "artifact" / CHECKS).read_text()
    entries = json.loads(text, parse_constant=pytest.fail)
    assert [entry["value"] for entry in entries] == [0.25, None]
    assert read_checks(str(tmp_path / "artifact")) == [passed, failed]
