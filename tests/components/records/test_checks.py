"""The honesty checks beside the rows."""

import json
from pathlib import Path

import pytest

from components.records.checks import CHECKS, names_of, read_checks, write_checks
from robustness.config import Check, CheckName


def test_checks_are_written_as_valid_json_and_read(tmp_path: Path) -> None:
    passed = Check(name=CheckName.PROOFS_HOLD, passed=True, value=0.25, sentence="Yes.")
    failed = Check(name=CheckName.LOGITS_ARE_FINITE, passed=False, value=None, sentence="No.")
    write_checks(str(tmp_path / "artifact"), [passed, failed])
    text = (tmp_path / "artifact" / CHECKS).read_text()
    entries = json.loads(text, parse_constant=pytest.fail)
    assert [entry["value"] for entry in entries] == [0.25, None]
    assert read_checks(str(tmp_path / "artifact")) == [passed, failed]


def test_a_check_that_could_not_tell_has_not_passed(tmp_path: Path) -> None:
    passed = Check(name=CheckName.PROOFS_HOLD, passed=True, value=0.25, sentence="Yes.")
    failed = Check(name=CheckName.LOGITS_ARE_FINITE, passed=False, value=1.0, sentence="No.")
    unknown = Check(name=CheckName.NOISE_DOES_NOT_HELP, passed=None, value=0.0, sentence="Few.")
    write_checks(str(tmp_path), [passed, failed, unknown])
    checks = read_checks(str(tmp_path))
    assert checks[2].passed is None
    assert names_of(checks, passed=True) == "proofs_hold"
    assert names_of(checks, passed=False) == "logits_are_finite,noise_does_not_help"
