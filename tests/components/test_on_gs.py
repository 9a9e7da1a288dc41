"""A store at gs://: the tests of on_gs.py, run where Google's storage is `fake_gcs`."""

import os
import re
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import fake_gcs
import pytest

pytestmark = pytest.mark.platforms

INSIDE = Path(__file__).with_name("on_gs.py")
TESTS = re.findall(r"^def (test_\w+)", INSIDE.read_text(), re.MULTILINE)
SECONDS = 420


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[str]]:
    """What went wrong in each test in there."""
    folder = tmp_path_factory.mktemp("gs")
    report, objects = folder / "report.xml", folder / "objects"
    fake = [sys.executable, fake_gcs.__file__, f"--folder={objects}", f"--timeout={SECONDS}"]
    tests = [sys.executable, "-m", "pytest", str(INSIDE), f"--junitxml={report}"]
    path = os.pathsep.join([str(Path(fake_gcs.__file__).parent), os.environ.get("PYTHONPATH", "")])
    environment = os.environ | {"FAKE_GCS": str(objects), "PYTHONPATH": path}
    done = subprocess.run([*fake, "--", *tests], env=environment, capture_output=True, text=True)
    if done.returncode == fake_gcs.REFUSED:
        pytest.skip(f"NOTHING OF gs:// IS TESTED: {done.stderr}")
    assert report.exists(), f"exit code {done.returncode}\n{done.stdout}\n{done.stderr}"
    wrong: dict[str, list[str]] = {}
    for case in ElementTree.parse(report).iter("testcase"):
        texts = [f"{case.get('name')}\n{part.text}" for part in case if part.tag != "properties"]
        wrong.setdefault(str(case.get("name")).partition("[")[0], []).extend(texts)
    return wrong


@pytest.mark.parametrize("name", TESTS)
def test_inside(outcomes: dict[str, list[str]], name: str) -> None:
    assert "\n".join(outcomes[name]) == ""
