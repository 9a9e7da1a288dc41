"""A check in the words of other systems, by their own schemas, and with every kind of outcome."""

import dataclasses
import hashlib
import io
import json
import re
import shutil
import subprocess
import tarfile
import urllib.request
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import jsonschema
import pytest
from judged_model import JUDGED
from lxml import etree

from components.evaluator.explained import Explanation
from foundation.errors import RunError
from gauntlet.check.github import annotations, command, markdown, write_summary
from gauntlet.check.junit import junit
from gauntlet.check.report import CheckReport
from gauntlet.check.sarif import sarif
from gauntlet.evaluation.chance import Chance
from gauntlet.evaluation.report import Report, Result
from robustness.config import Norm

REPOSITORY = Path(__file__).parents[3]
ODD = 'a "b" <c> & d | e %0A ]]> \x1b[31m\nf: g, h \x00 é'


def gate(name: str, passed: bool | None, sentence: str = "A sentence.", **more: Any) -> Explanation:
    found = Explanation(
        name=name,
        passed=passed,
        value=0.5,
        interval=(0.4, 0.6),
        judged=0.4,
        op=">=",
        bound=0.3,
        images_to_change=None,
        images_against=5,
        ids=["mnist-test__1", "x"],
        sentence=sentence,
        not_compared="" if passed is not None else "nothing is there",
    )
    return dataclasses.replace(found, **more)


def report(*gates: Explanation, undone: tuple[str, ...] = ()) -> CheckReport:
    result = Result(
        norm=Norm.LINF,
        epsilon=0.1,
        examples=10,
        seed=0,
        clean=0.9,
        worst_case=0.5,
        attacks={"fgsm": 0.5},
        efforts={"fgsm": {"steps": 1}},
        certified=0.25,
        certified_by={"ibp": 0.25},
        not_certified=None,
        seconds_by={},
        checks=(),
        seconds=1.0,
        examples_file=Path("/o/examples.csv"),
        gates=gates,
        undone=undone,
    )
    return CheckReport(
        evaluation=Report(
            model=Path("/models/a|b.keras"),
            judged=JUDGED,
            sample=Chance(images=10, right=0.9, chance=0.1),
            fingerprint="abc",
            trust=False,
            sandbox=None,
            dataset="mnist",
            split="test",
            suite="fast",
            notes=("A note | with a bar.",),
            results=(result,),
            corruptions=None,
            folder=Path("/o"),
        )
    )


PASSED = report(gate("clean", True), gate("worst_case", True))
REFUSED = report(
    gate("clean", True),
    gate("worst_case", False, ODD),
    gate("certified", True, bound=0.0),
    gate("transfer", None, not_compared="", applies=False),
    gate("best", None),
)
UNDONE = report(gate("clean", False), undone=("The time sufficed for 10 of 20 images.", ODD))
ALL = pytest.mark.parametrize(
    "made", [PASSED, REFUSED, UNDONE], ids=["passed", "refused", "undone"]
)


def test_what_passes() -> None:
    assert (PASSED.passed, PASSED.verdict) == (True, "Passed: all 2 gates hold.")
    assert (REFUSED.passed, REFUSED.verdict) == (False, "Refused by worst_case.")
    unfinished = report(gate("clean", True), undone=("The checks did not run.",))
    assert (unfinished.passed, unfinished.verdict) == (False, "Refused: it was not finished.")
    shares = "25.00% are proven safe", "10.00% are wrong", "another 40.00%", "25.00% are open"
    assert all(share in PASSED.finding for share in shares)


def test_junit_counts_and_names_what_it_holds() -> None:
    (suite,) = ElementTree.fromstring(junit(REFUSED, 1.5))
    assert suite.attrib == {
        "name": "gauntlet check a|b.keras",
        "time": "1.500",
        "tests": "5",
        "failures": "1",
        "errors": "0",
        "skipped": "3",
    }
    outcomes = {case.get("name"): case[0].tag for case in suite.iter("testcase")}
    assert outcomes == {
        "clean": "system-out",
        "worst_case": "failure",
        "certified": "skipped",
        "transfer": "skipped",
        "best": "skipped",
    }
    assert [skipped.get("message") for skipped in suite.iter("skipped")] == [
        "reported: A sentence.",
        "does not apply: A sentence.",
        "not compared: nothing is there",
    ]
    assert "Note: A note | with a bar." in (suite.findtext("system-out") or "")
    (failure,) = suite.iter("failure")
    assert "mnist-test__1" in (failure.text or "")
    (suite,) = ElementTree.fromstring(junit(UNDONE, 1.5))
    assert (suite.get("errors"), len(list(suite.iter("error")))) == ("2", 2)


def test_text_that_no_xml_may_hold_is_written_as_its_number() -> None:
    (suite,) = ElementTree.fromstring(junit(REFUSED, 0.0))
    (failure,) = suite.iter("failure")
    assert failure.get("message") == ODD.replace("\x1b", "\\x1b").replace("\x00", "\\x00")


def test_annotations_are_one_line_each_and_cannot_be_broken_out_of() -> None:
    lines = list(annotations(REFUSED))
    assert [line.split(" ")[0] for line in lines] == ["::error", "::warning", "::error"]
    assert lines[0].startswith('::error title=worst_case::a "b" <c> & d | e %250A ]]> ')
    assert not any(character in line for line in lines for character in "\n\r")
    note, verdict = annotations(PASSED)
    assert note == "::warning title=note on the model::A note | with a bar."
    assert verdict.startswith("::notice title=gauntlet check::Passed")
    assert command("error", "a:b,c", "d") == "::error title=a%3Ab%2Cc::d"


def test_the_summary_of_a_step_is_added_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "summary.md"
    file.write_text("before\n")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(file))
    assert write_summary(REFUSED)
    text = file.read_text()
    assert text == f"before\n{markdown(REFUSED)}"
    rows = [line for line in text.splitlines() if line.startswith("| ")]
    assert [len(re.findall(r"(?<!\\)\|", row)) for row in rows] == [4] * 6
    assert "Refused by worst\\_case." in text
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path / "no" / "folder"))
    with pytest.raises(RunError, match="GITHUB_STEP_SUMMARY"):
        write_summary(REFUSED)
    monkeypatch.delenv("GITHUB_STEP_SUMMARY")
    assert not write_summary(REFUSED)


def test_sarif_has_a_result_for_each_gate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (run,) = json.loads(sarif(REFUSED))["runs"]
    found = {entry["ruleId"]: (entry["kind"], entry["level"]) for entry in run["results"]}
    assert found == {
        "clean": ("pass", "none"),
        "worst_case": ("fail", "error"),
        "certified": ("informational", "none"),
        "transfer": ("notApplicable", "none"),
        "best": ("notApplicable", "none"),
    }
    (told,) = run["invocations"][0]["toolExecutionNotifications"]
    assert told == {"level": "warning", "message": {"text": "A note | with a bar."}}
    assert [rule["id"] for rule in run["tool"]["driver"]["rules"]] == list(found)
    place = run["results"][0]["locations"][0]["physicalLocation"]["artifactLocation"]
    assert place == {"uri": "file:///models/a%7Cb.keras"}
    evaluation = dataclasses.replace(PASSED.evaluation, model=Path("models/m 1"))
    (run,) = json.loads(sarif(CheckReport(evaluation=evaluation)))["runs"]
    place = run["results"][0]["locations"][0]["physicalLocation"]["artifactLocation"]
    assert place == {"uri": "models/m%201"}


@pytest.fixture(scope="session")
def xsd() -> etree.XMLSchema:
    """The schema of Jenkins's JUnit reports, which pytest's source archive has."""
    locked = (REPOSITORY / "requirements-dev.lock").read_text()
    (block,) = re.findall(r"^pytest==(?:.*\\\n)+.*", locked, re.MULTILINE)
    release = block.split()[0].replace("==", "-")
    (url,) = re.findall(rf'href="([^"]+/{release}\.tar\.gz)', index("pytest"))
    archive = urllib.request.urlopen(url, timeout=60).read()
    assert hashlib.sha256(archive).hexdigest() in block
    name = f"{release}/testing/example_scripts/junit-10.xsd"
    with tarfile.open(fileobj=io.BytesIO(archive)) as package:
        content = package.extractfile(name)
        assert content
        return etree.XMLSchema(etree.parse(content))


def index(package: str) -> str:
    """The page of a package on the user's index."""
    done = subprocess.run(
        ["pip", "config", "get", "global.index-url"], capture_output=True, text=True, check=False
    )
    address = done.stdout.strip() or "https://pypi.org/simple"
    page = urllib.request.urlopen(f"{address.rstrip('/')}/{package}/", timeout=60)
    return str(page.read().decode())


@pytest.fixture(scope="session")
def schema(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The schema of SARIF 2.1.0, which Microsoft's validator has."""
    if not shutil.which("npm"):
        pytest.skip("npm is not installed")
    folder = tmp_path_factory.mktemp("npm")
    package = "@microsoft/sarif-multitool-linux@5.7.0"
    subprocess.run(["npm", "pack", package], cwd=folder, check=True, capture_output=True)
    (archive,) = folder.iterdir()
    with tarfile.open(archive) as contents:
        file = contents.extractfile("package/sarif-2.1.0.json")
        assert file
        return json.load(file)


@pytest.mark.e2e
@ALL
def test_junit_is_what_jenkins_reads(xsd: etree.XMLSchema, made: CheckReport) -> None:
    xsd.assertValid(etree.fromstring(junit(made, 12.3456).encode()))
    wrong = junit(made, 1.0).replace('name="clean"', "")
    assert not xsd.validate(etree.fromstring(wrong.encode()))


@pytest.mark.e2e
@ALL
def test_sarif_is_what_its_standard_says(schema: Any, made: CheckReport) -> None:
    log = json.loads(sarif(made))
    jsonschema.validate(log, schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({**log, "version": "2.0.0"}, schema)
