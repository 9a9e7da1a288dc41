"""Advisories: what pip-audit says, and that nothing passes unchecked."""

import json
import sys
from pathlib import Path

import audit
import pytest

SOUND = {"name": "sound", "version": "1", "vulns": []}
WEAK = {
    "name": "weak",
    "version": "2",
    "vulns": [{"id": "PYSEC-1", "aliases": ["CVE-1"], "fix_versions": ["3"]}],
}
UNKNOWN = {"name": "strange", "skip_reason": "not found"}

Answers = dict[str, tuple[str, str, int]]
"""Standard output, error output and exit code of pip-audit, by service."""


def says(*packages: object) -> tuple[str, str, int]:
    return json.dumps({"dependencies": packages, "fixes": []}), "", int(WEAK in packages)


FAILED = ("", "Traceback\nConnectionError: no such host", 1)


@pytest.mark.parametrize(
    ("answers", "code", "words"),
    [
        ({"pypi": says(SOUND)}, 0, "1 packages checked by pypi: 0 advisories"),
        ({"pypi": says(SOUND, WEAK)}, 1, "weak 2: PYSEC-1, CVE-1; mended in 3"),
        ({"pypi": FAILED, "osv": says(SOUND)}, 0, "1 packages checked by osv: 0 advisories"),
        ({"pypi": says(SOUND, UNKNOWN), "osv": says(WEAK)}, 1, "checked by osv: 1 advisories"),
        (
            {"pypi": says(SOUND, UNKNOWN), "osv": FAILED},
            2,
            "nothing was checked: pypi: strange is unknown there; "
            "osv: ConnectionError: no such host",
        ),
        ({"pypi": FAILED, "osv": FAILED}, 2, "nothing was checked: pypi: ConnectionError"),
        ({"pypi": says(), "osv": ("", "", 1)}, 2, "osv: it said nothing"),
    ],
)
def test_the_code_says_what_was_found(
    answers: Answers,
    code: int,
    words: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "answers.json").write_text(json.dumps(answers))
    fake = tmp_path / "fake.py"
    fake.write_text(
        "import json, sys\n"
        f"answers = json.load(open({str(tmp_path / 'answers.json')!r}))\n"
        "assert '--strict' in sys.argv and '--require-hashes' in sys.argv\n"
        "out, err, code = answers[sys.argv[sys.argv.index('--vulnerability-service') + 1]]\n"
        "print(out); print(err, file=sys.stderr); sys.exit(code)"
    )
    monkeypatch.setattr(audit, "PIP_AUDIT", (sys.executable, str(fake)))
    assert audit.main() == code
    printed = capsys.readouterr()
    assert words in printed.out + printed.err


def test_all_lock_files_are_checked() -> None:
    names = {path.name for path in audit.LOCKS}
    assert names == {f"requirements{kind}.lock" for kind in ("", "-dev", "-gpu", "-peers")}
