"""Which pushed versions may be served elsewhere."""

import dataclasses
from pathlib import Path

import pytest
from gauntlet_kubeflow.deploy.pushed import check, chosen
from gauntlet_kubeflow.deploy.request import Place
from pushed_versions import PASSED, push

from components.journal import Entry, append
from components.versions import STRAY, PushedBy, Version
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


def test_what_nobody_pushed_or_the_metadata_contradict_is_served_nowhere_else(
    tmp_path: Path,
) -> None:
    push(tmp_path, "8")
    serving, place = str(tmp_path / "serving"), Place(folder="gs://b/serving", version="8")

    def contradicted(version: Version) -> Version:
        return dataclasses.replace(version, problem="never judged")

    with pytest.raises(ConfigError, match="served nowhere else: it is damaged: never judged"):
        chosen(place, serving, contradicted)
    append(serving, Entry(what="run", version="7"))
    with pytest.raises(ConfigError, match=f"served nowhere else: {STRAY}"):
        chosen(place, serving)
