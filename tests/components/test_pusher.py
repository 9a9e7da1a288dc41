"""The push: blessed models as versions, refused ones not at all, and nothing by halves."""

import errno
import json
import os
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import tensorflow as tf
from filelock import FileLock, Timeout
from small_world import NAMES, artifact
from tfx.proto import pusher_pb2
from tfx.types.standard_artifacts import Model, ModelBlessing, PushedModel
from tfx.utils import io_utils, proto_utils
from three_runs import explained

from components import pusher
from components.binding import account
from components.bound import FILE
from components.champion import served_version
from components.changes import Signature, whoami
from components.journal import JOURNAL, read
from components.mandate import Mandate
from components.manifest import MODEL_SHA256, digest_of, verify
from components.policy import Terms
from components.versions import (
    CARD,
    Card,
    PushedBy,
    card_of_entry,
    examined,
    list_versions,
    read_card,
)
from foundation.errors import ConfigError, RunError
from foundation.locks import LOCK
from foundation.versions import versions
from pipeline.definition.config import override
from pipeline.definition.presets import preset
from pipeline.definition.terms import terms_of
from trainer.classes import class_names_of

GATES = [explained("clean", 0.9), explained("worst_case", 0.5), explained("square", 1.0)]


def push(
    small_models: dict[str, str],
    tmp_path: Path,
    blessed: bool = True,
    noted: dict[str, str] | None = None,
    **properties: str,
) -> PushedModel:
    """The answer of Pusher. noted: properties of the blessing. properties: of the execution."""
    blessing = artifact(ModelBlessing, str(tmp_path / "blessing"))
    blessing.set_int_custom_property("blessed", int(blessed))
    for name, value in (noted or {}).items():
        blessing.set_string_custom_property(name, value)
    Path(blessing.uri).mkdir(exist_ok=True)
    (Path(blessing.uri) / "gates.json").write_text(json.dumps(GATES))
    pushed = artifact(PushedModel, str(tmp_path / "pushed"))
    filesystem = pusher_pb2.PushDestination.Filesystem(base_directory=str(tmp_path / "serving"))
    destination = proto_utils.proto_to_json(pusher_pb2.PushDestination(filesystem=filesystem))
    inputs = {"model": [artifact(Model, small_models["robust"])], "model_blessing": [blessing]}
    given = {"push_destination": destination, **properties}
    pusher.Executor().Do(inputs, {"pushed_model": [pushed]}, given)
    return pushed


def left(serving: Path) -> set[str]:
    """What is in a folder of versions beside the journal and the lock."""
    names = os.listdir(serving) if serving.exists() else []
    return {*names} - {JOURNAL, LOCK}


def test_a_blessed_model_is_pushed_as_a_version(
    small_models: dict[str, str], tmp_path: Path
) -> None:
    pushed = push(small_models, tmp_path)
    (version,) = versions(str(tmp_path / "serving"))
    assert pushed.get_string_custom_property("pushed_destination") == str(
        tmp_path / "serving" / version
    )
    answer = tf.saved_model.load(str(tmp_path / "serving" / version)).signatures["serving_default"]
    assert "probabilities" in answer.structured_outputs
    card = read_card(str(tmp_path / "serving" / version))
    assert (card.model, card.kind, card.clean, card.worst_case) == (
        small_models["robust"], "run", 0.9, 0.5,
    )  # fmt: skip
    content = json.loads((tmp_path / "serving" / version / CARD).read_text())
    assert "square" not in content
    assert content["class_names"] == list(card.class_names) == list(NAMES)
    assert class_names_of(str(tmp_path / "serving" / version)) == NAMES


def test_a_model_that_a_rollback_took_out_is_not_pushed(
    small_models: dict[str, str], tmp_path: Path
) -> None:
    """A blessing from a cache, or another one, is no reason: somebody went back from it."""
    other = tmp_path / "other"
    shutil.copytree(small_models["undefended"], other)
    base = str(tmp_path / "serving")
    first = pusher.publish(f"{other}/Format-Serving", base, Card(model="other"))
    push(small_models, tmp_path)
    back = Card(model="other", kind=PushedBy.ROLLBACK, of=first, by="me", at="now", reason="slow")
    pusher.publish(f"{other}/Format-Serving", base, back)
    pushed = push(small_models, tmp_path)
    assert pushed.get_int_custom_property("pushed") == 0
    withdrawn = json.loads(pushed.get_string_custom_property("withdrawn"))
    assert withdrawn == {"by": "me", "at": "now", "reason": "slow"}
    assert len(versions(base)) == 3


def test_a_model_that_met_another_champion_than_the_served_one_is_not_pushed(
    small_models: dict[str, str], tmp_path: Path
) -> None:
    """Two runs at once: what one has pushed, the other has not met."""
    base = str(tmp_path / "serving")
    for met in ("", "elsewhere/1"):
        first = pusher.publish(
            f"{small_models['undefended']}/Format-Serving", base, Card(model="x")
        )
        with pytest.raises(RunError, match=r"is served now, and .* when the run began"):
            push(small_models, tmp_path, champion=met)
    assert len(versions(base)) == 2
    push(small_models, tmp_path, champion=f"{base}/{first}")
    push(small_models, tmp_path, champion=f"{base}/{first}")  # it is served itself by now
    assert len(versions(base)) == 3


ROBUST = terms_of(preset("robust"))
LOWER = terms_of(override(preset("robust"), ["gates.worst_case=0.5", "gates.certified=0"]))
CLOTHES = terms_of(preset("fashion"))
SUBMITTED = f'{whoami()}, submitted by "ada"'


def run_with(terms: Terms, mandate: Mandate = Mandate()) -> str:  # noqa: B008
    """What a run with these terms tells the Pusher."""
    return json.dumps({"run_id": "r", **account(terms, mandate.to_json(), 7, "key")})


def test_the_first_push_binds_the_place_to_its_terms(
    small_models: dict[str, str], tmp_path: Path
) -> None:
    pushed = push(small_models, tmp_path, custom_config=run_with(ROBUST))
    assert Terms.from_toml((tmp_path / "serving" / FILE).read_text()) == ROBUST
    card = read_card(pushed.get_string_custom_property("pushed_destination"))
    assert (card.terms, card.terms_sha256) == (ROBUST.plain(), ROBUST.digest())
    assert (card.kind, card.run_id, card.seed, card.code) == ("run", "r", 7, "key")
    assert len(versions(str(tmp_path / "serving"))) == 1


def test_a_push_compares_once_more(small_models: dict[str, str], tmp_path: Path) -> None:
    """On a platform an hour lies between Champion and the push."""
    push(small_models, tmp_path, custom_config=run_with(ROBUST))
    other = {"robust": small_models["undefended"]}
    for terms, words in ((CLOTHES, "another purpose"), (LOWER, "asks for less")):
        with pytest.raises(ConfigError, match=words):
            push(other, tmp_path, custom_config=run_with(terms))
    assert len(versions(str(tmp_path / "serving"))) == 1
    force = Mandate(force=True, signature=Signature(by="ada", at="now", reason="an emergency"))
    pushed = push(other, tmp_path, custom_config=run_with(LOWER, force))
    card = read_card(pushed.get_string_custom_property("pushed_destination"))
    assert (card.kind, card.by, len(card.lowered)) == ("run", SUBMITTED, 2)
    assert card.reason == force.signature.reason
    assert Terms.from_toml((tmp_path / "serving" / FILE).read_text()) == ROBUST


def test_a_push_for_another_purpose_is_recorded(
    small_models: dict[str, str], tmp_path: Path
) -> None:
    push(small_models, tmp_path, custom_config=run_with(ROBUST))
    replace = Mandate(replace=True, signature=Signature(by="ada", at="now", reason="clothes now"))
    other = {"robust": small_models["undefended"]}
    pushed = push(other, tmp_path, custom_config=run_with(CLOTHES, replace))
    card = read_card(pushed.get_string_custom_property("pushed_destination"))
    assert (card.kind, card.by, card.at) == ("replaced", SUBMITTED, "now")
    assert card.reason == "clothes now"
    assert Terms.from_toml((tmp_path / "serving" / FILE).read_text()) == CLOTHES


def test_terms_that_change_while_the_files_are_copied_end_the_push(
    small_models: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage = pusher._stage

    def staged(*arguments: Any) -> None:
        stage(*arguments)
        (tmp_path / "serving" / FILE).write_text(CLOTHES.to_toml())

    monkeypatch.setattr(pusher, "_stage", staged)
    with pytest.raises(ConfigError, match="another purpose"):
        push(small_models, tmp_path, custom_config=run_with(ROBUST))
    assert not versions(str(tmp_path / "serving"))
    assert not list((tmp_path / "serving").glob(".staging-*"))


def test_a_push_that_was_killed_before_it_bound_the_place_is_completed(
    small_models: dict[str, str], tmp_path: Path
) -> None:
    push(small_models, tmp_path, custom_config=run_with(ROBUST))
    (tmp_path / "serving" / FILE).unlink()
    push(small_models, tmp_path, custom_config=run_with(ROBUST))
    assert Terms.from_toml((tmp_path / "serving" / FILE).read_text()) == ROBUST
    assert len(versions(str(tmp_path / "serving"))) == 1


def test_terms_that_change_are_recorded_where_the_model_is_served_already(
    small_models: dict[str, str], tmp_path: Path
) -> None:
    """Training and attacks come from the cache, and the model is the one that is served: it is
    pushed once more, and stays the same champion."""
    serving = tmp_path / "serving"
    first = push(small_models, tmp_path, custom_config=run_with(LOWER))
    replace = Mandate(
        replace=True, signature=Signature(by="ada", at="now", reason="too much was asked for")
    )
    force = Mandate(force=True, signature=Signature(by="ada", at="now", reason="now"))
    steps = [(LOWER, Mandate(), 1), (ROBUST, Mandate(), 2), (LOWER, force, 2), (LOWER, replace, 3)]
    for terms, mandate, count in steps:
        if mandate is replace:
            (serving / FILE).write_text(LOWER.to_toml())
        for _ in range(2):
            pushed = push(small_models, tmp_path, custom_config=run_with(terms, mandate))
            assert len(versions(str(serving))) == count
    card = read_card(pushed.get_string_custom_property("pushed_destination"))
    assert (card.kind, card.by, len(card.lowered)) == ("replaced", SUBMITTED, 2)
    assert Terms.from_toml((serving / FILE).read_text()) == LOWER
    assert served_version(str(serving)) == first.get_string_custom_property("pushed_destination")


def test_what_a_refused_run_asked_for_is_kept_for_a_push_by_hand(
    small_models: dict[str, str], tmp_path: Path
) -> None:
    pushed = push(small_models, tmp_path, blessed=False, custom_config=run_with(ROBUST))
    assert json.loads(pushed.get_string_custom_property(pusher.ACCOUNT))["terms"] == ROBUST.plain()
    assert not (tmp_path / "serving").exists()


@pytest.mark.parametrize("meanwhile", ["another push", "a rollback"])
def test_what_changes_while_the_files_are_copied_ends_the_push(
    small_models: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, meanwhile: str
) -> None:
    """Two runs at once both look, then both copy."""
    base, other = str(tmp_path / "serving"), f"{small_models['undefended']}/Format-Serving"
    first = pusher.publish(other, base, Card(model="x"))
    if meanwhile == "a rollback":
        pusher.publish(other, base, Card(model=small_models["robust"]))
        met = pusher.publish(other, base, Card(model="y"))
        card = Card(model="x", kind=PushedBy.ROLLBACK, of=first, by="me")
    else:
        met, card = first, Card(model="y")
    stage = pusher._stage

    def staged(*arguments: Any) -> None:
        stage(*arguments)
        monkeypatch.setattr(pusher, "_stage", stage)
        pusher.publish(other, base, card)

    monkeypatch.setattr(pusher, "_stage", staged)
    with pytest.raises(RunError, match=r"is served now|rolled back from the model while"):
        push(small_models, tmp_path, champion=f"{base}/{met}")
    assert read_card(f"{base}/{versions(base)[-1]}").model == card.model
    assert not list((tmp_path / "serving").glob(".staging-*"))


@pytest.mark.parametrize(
    ("uri", "run"),
    [
        ("/minio/b/f/artifacts/gauntlet/run-7/Pusher/pushed_model", "run-7"),
        ("gs://b/f/artifacts/1234/gauntlet-2026/Pusher_-77/pushed_model", "gauntlet-2026"),
        ("/tmp/pushed", ""),
    ],
)
def test_a_card_names_the_run_of_a_platform(uri: str, run: str) -> None:
    assert pusher.run_in(uri) == run


def test_a_refused_model_is_not_pushed(small_models: dict[str, str], tmp_path: Path) -> None:
    pushed = push(small_models, tmp_path, blessed=False)
    assert pushed.get_int_custom_property("pushed") == 0
    assert not (tmp_path / "serving").exists()


def test_a_model_that_is_served_is_not_pushed_again_and_one_that_is_not_is(
    small_models: dict[str, str], tmp_path: Path
) -> None:
    first = push(small_models, tmp_path).get_string_custom_property("pushed_destination")
    assert push(small_models, tmp_path).get_string_custom_property("pushed_destination") == first
    other = push({"robust": small_models["undefended"]}, tmp_path).get_string_custom_property(
        "pushed_destination"
    )
    back = push(small_models, tmp_path).get_string_custom_property("pushed_destination")
    assert int(os.path.basename(first)) < int(os.path.basename(other)) < int(os.path.basename(back))
    shutil.rmtree(back)
    shutil.rmtree(other)
    shutil.rmtree(first)
    assert os.path.isdir(
        push(small_models, tmp_path).get_string_custom_property("pushed_destination")
    )


@pytest.mark.parametrize("files_before", [0, 2], ids=["at-once", "in-the-middle"])
def test_a_full_disk_leaves_nothing_half_pushed(
    small_models: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, files_before: int
) -> None:
    copy, copied = io_utils.copy_file, []

    def full(source: str, target: str, overwrite: bool = False) -> None:
        if len(copied) >= files_before:
            raise OSError(errno.ENOSPC, "No space left on device", target)
        copied.append(target)
        copy(source, target, overwrite)

    monkeypatch.setattr(io_utils, "copy_file", full)
    monkeypatch.setattr(io_utils.fileio, "copy", full)
    with pytest.raises(
        RunError,
        match=r"could not be pushed to .*No space left on device.*nothing was changed there",
    ):
        push(small_models, tmp_path)
    assert not [*left(tmp_path / "serving")]


def test_pushes_at_once_get_numbers_of_their_own(
    small_models: dict[str, str], tmp_path: Path
) -> None:
    """Each version is whole, and of one push."""
    source = f"{small_models['robust']}/Format-Serving"
    with ThreadPoolExecutor(8) as pool:
        found = list(
            pool.map(lambda i: pusher.publish(source, str(tmp_path), Card(model=str(i))), range(8))
        )
    assert len(set(found)) == 8
    assert {entry.card.model for entry in list_versions(str(tmp_path))} == set(map(str, range(8)))
    assert sorted(left(tmp_path)) == sorted(found)
    for version in found:
        assert {path.name for path in (tmp_path / version).rglob("*")} >= {
            path.name for path in Path(source).rglob("*")
        }


def test_a_number_is_above_folders_that_are_no_versions_too(
    small_models: dict[str, str], tmp_path: Path
) -> None:
    """TensorFlow Serving looks at numbers alone."""
    (tmp_path / "9999999999" / "variables").mkdir(parents=True)
    version = pusher.publish(f"{small_models['robust']}/Format-Serving", str(tmp_path), Card())
    assert int(version) == 10_000_000_000
    assert versions(str(tmp_path)) == [version]


def test_a_reader_sees_whole_versions_only(
    small_models: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Looked at before every file that is copied, and killed in the middle: only the old version is
    there."""
    source = f"{small_models['robust']}/Format-Serving"
    old = pusher.publish(source, str(tmp_path), Card(model="old"))
    copy = io_utils.fileio.copy

    def killed(one: str, other: str, overwrite: bool = False) -> None:
        assert [entry.version for entry in list_versions(str(tmp_path))] == [old]
        copy(one, other, overwrite)
        if one.endswith("saved_model.pb"):
            raise KeyboardInterrupt

    monkeypatch.setattr(io_utils.fileio, "copy", killed)
    with pytest.raises(KeyboardInterrupt):
        pusher.publish(source, str(tmp_path), Card(model="new"))
    assert [entry.card.model for entry in list_versions(str(tmp_path))] == ["old"]


BY_HAND = '{"by": "ada (uid 7) on box", "at": "2026", "reason": "hurry"}'


def test_what_is_pushed_has_the_digest_of_what_was_judged(
    small_models: dict[str, str], tmp_path: Path
) -> None:
    source = f"{small_models['robust']}/Format-Serving"
    digest = digest_of(source)
    pushed = push(small_models, tmp_path, noted={MODEL_SHA256: digest})
    version = pushed.get_string_custom_property("pushed_destination")
    assert verify(version, digest) == []
    assert read_card(version).manifest_sha256 == digest
    assert pushed.get_string_custom_property(MODEL_SHA256) == digest
    begun, done = read(str(tmp_path / "serving")).entries
    assert (begun.version, done.version, done.what) == ("", os.path.basename(version), "run")
    assert done.model_sha256 == begun.model_sha256 == digest
    assert card_of_entry(done) == read_card(version)


def test_a_model_that_was_changed_since_it_was_judged_is_not_pushed(
    small_models: dict[str, str], tmp_path: Path
) -> None:
    changed = tmp_path / "changed"
    shutil.copytree(small_models["robust"], changed)
    digest = digest_of(f"{changed}/Format-Serving")
    (changed / "Format-Serving" / "assets" / "more.txt").write_text("more")
    with pytest.raises(RunError, match="is not the one that was judged: its files were changed"):
        push({"robust": str(changed)}, tmp_path, noted={MODEL_SHA256: digest})
    assert versions(str(tmp_path / "serving")) == []


def test_what_is_changed_while_it_is_copied_is_not_pushed(
    small_models: dict[str, str], tmp_path: Path
) -> None:
    card = Card(model="x", manifest_sha256="another one")
    with pytest.raises(RunError, match="were changed while they were copied"):
        pusher.publish(f"{small_models['robust']}/Format-Serving", str(tmp_path), card)
    assert not left(tmp_path)


def test_a_blessing_by_force_is_none_for_a_run(
    small_models: dict[str, str], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """It comes from the cache when the command of the refused run is given again."""
    pushed = push(small_models, tmp_path, noted={"forced": BY_HAND})
    assert pushed.get_int_custom_property("pushed") == 0
    assert versions(str(tmp_path / "serving")) == []
    assert pushed.get_string_custom_property(pusher.FORCED) == BY_HAND
    assert "given by force: by ada (uid 7) on box on 2026 (hurry)" in caplog.text


def test_a_blessing_that_was_withdrawn_is_the_reason(
    small_models: dict[str, str], tmp_path: Path
) -> None:
    pushed = push(small_models, tmp_path, blessed=False, noted={"withdrawn": BY_HAND})
    assert pushed.get_int_custom_property("pushed") == 0
    assert pushed.get_string_custom_property(pusher.WITHDRAWN) == BY_HAND


def test_what_is_served_is_looked_at_under_the_lock(
    small_models: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise a rollback between the look and the lock is told as a push of what it went back
    from."""
    push(small_models, tmp_path)
    look, looked = pusher.served_already, []

    def locked(base: str, card: Card) -> str | None:
        with pytest.raises(Timeout):
            FileLock(tmp_path / "serving" / LOCK).acquire(timeout=0)
        looked.append(base)
        return look(base, card)

    monkeypatch.setattr(pusher, "served_already", locked)
    push(small_models, tmp_path)
    assert looked


@pytest.mark.parametrize("step", ["_rename", "_complete"])
def test_a_push_that_was_killed_is_completed_by_the_next(
    small_models: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    """Right before the version appears, and right after."""
    base = str(tmp_path / "serving")

    def killed(*_: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(pusher, step, killed)
        with pytest.raises(KeyboardInterrupt):
            push(small_models, tmp_path)
    there = versions(base)
    assert len(there) == (step == "_complete")
    assert [version.problem for version in examined(base)] == [""] * len(there)
    version = push(small_models, tmp_path).get_string_custom_property("pushed_version")
    assert versions(base) == [version]
    assert read(base).entries[-1].version == version
    assert pusher.unsettled(base) == {}


def test_a_broken_version_blocks_nothing(small_models: dict[str, str], tmp_path: Path) -> None:
    base, other = tmp_path / "serving", f"{small_models['undefended']}/Format-Serving"
    first, second = (pusher.publish(other, str(base), Card(model=name)) for name in "xy")
    (base / first / CARD).write_text("")
    push(small_models, tmp_path, champion=f"{base}/{second}")
    assert len(versions(str(base))) == 3
    problems = [version.problem for version in examined(str(base))]
    assert [bool(problem) for problem in problems] == [True, False, False]
    assert "its card is damaged" in problems[0]


def test_a_card_that_nobody_knows_might_be_a_rollback(
    small_models: dict[str, str], tmp_path: Path
) -> None:
    base, other = tmp_path / "serving", f"{small_models['undefended']}/Format-Serving"
    first = pusher.publish(other, str(base), Card(model="x"))
    push(small_models, tmp_path)
    back = Card(model="x", kind=PushedBy.ROLLBACK, of=first)
    lost = [pusher.publish(other, str(base), back), pusher.publish(other, str(base), back)][0]
    (base / JOURNAL).unlink()  # as in an object store
    (base / lost / CARD).write_text("")
    with pytest.raises(
        RunError, match=f"whether somebody rolled back .*: version {lost}: its card"
    ):
        push(small_models, tmp_path)


def test_a_served_version_that_is_damaged_is_no_champion_and_not_nothing(
    small_models: dict[str, str], tmp_path: Path
) -> None:
    base = tmp_path / "serving"
    first = pusher.publish(f"{small_models['undefended']}/Format-Serving", str(base), Card())
    (base / first / "saved_model.pb").write_text("")
    for met in ("", f"{base}/{first}"):
        with pytest.raises(RunError, match=r"which is served, is damaged: saved_model\.pb: it was"):
            push(small_models, tmp_path, champion=met)


def test_who_may_read_the_folder_may_read_a_version_whatever_the_umask(
    small_models: dict[str, str], tmp_path: Path
) -> None:
    tmp_path.chmod(0o775)
    before = os.umask(0o077)
    try:
        version = push(small_models, tmp_path).get_string_custom_property("pushed_destination")
    finally:
        os.umask(before)
    modes = {
        path.is_dir(): path.stat().st_mode & 0o777
        for path in [tmp_path / "serving", *Path(version).rglob("*")]
    }
    assert modes == {True: 0o775, False: 0o644}


def test_a_volume_that_refuses_modes_takes_a_push(
    small_models: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(path: Any, *_: Any, **__: Any) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted", str(path))

    for name in ("chmod", "fchmod"):
        monkeypatch.setattr(os, name, refused)
    push(small_models, tmp_path, custom_config=run_with(ROBUST))
    push(small_models, tmp_path, custom_config=run_with(ROBUST))
    (version,) = examined(str(tmp_path / "serving"))
    assert (version.problem, (tmp_path / "serving" / FILE).exists()) == ("", True)


@pytest.mark.parametrize("name", ["sync", "bind", "append"])
def test_what_fails_after_the_version_is_there_is_a_warning_that_names_it(
    small_models: dict[str, str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    name: str,
) -> None:
    base = str(tmp_path / "serving")
    function = getattr(pusher, name)

    def full(*arguments: Any) -> Any:
        if versions(base):
            raise OSError(errno.ENOSPC, "No space left on device", base)
        return function(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(pusher, name, full)
        pushed = push(small_models, tmp_path, custom_config=run_with(ROBUST))
    (version,) = examined(base)
    assert (version.version, version.problem) == (
        pushed.get_string_custom_property("pushed_version"), "",
    )  # fmt: skip
    told = [each.getMessage() for each in caplog.records if each.levelname == "WARNING"]
    assert any(version.version in line and "No space left" in line for line in told), told
    push(small_models, tmp_path, custom_config=run_with(ROBUST))
    assert (len(versions(base)), pusher.unsettled(base)) == (1, {})
    assert (tmp_path / "serving" / FILE).exists()


def test_all_is_on_the_disk_before_a_version_is_visible(
    small_models: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a power cut leaves is a version with all its files, or none."""
    done: list[str] = []

    def noted(module: Any, name: str) -> None:
        function = getattr(module, name)

        def call(*arguments: Any) -> Any:
            done.append(name)
            return function(*arguments)

        monkeypatch.setattr(module, name, call)

    for name in ("write_manifest", "sync_tree", "append", "sync"):
        noted(pusher, name)
    noted(pusher.fileio, "rename")
    pusher.publish(f"{small_models['robust']}/Format-Serving", str(tmp_path), Card())
    assert done == ["write_manifest", "sync_tree", "append", "rename", "sync", "append"]
