"""Which pushed versions may be served elsewhere."""

import dataclasses
from pathlib import Path

import pytest
from gauntlet_kubeflow.deploy.pushed import check, chosen
from gauntlet_kubeflow.deploy.request import Place
from pushed_versions import PASSED, push

from components.versions import PushedBy
from foundation.errors import ConfigError


def test_a_version_from_which_a_rollback_went_back(tmp_path: Path) -> None:
    push(tmp_path, "8")
    push(tmp_path, "9", dataclasses.replace(PASSED, model="another"))
    back = dataclasses.replace(PASSED, kind=PushedBy.ROLLBACK, of="8", by="me", at="now")
    push(tmp_path, "10", back)
    serving = str(tmp_path / "serving")
    with pytest.raises(ConfigError, match="a rollback of now by me went back from the model of"):
        check(chosen(Place(folder="gs://b/serving", version="9"), serving))
    for version in ("8", "10", ""):
        check(chosen(Place(folder="gs://b/serving", version=version), serving))
