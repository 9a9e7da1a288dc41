"""The push: TFX's Pusher, made to be whole or not at all, and to see what is being served.

A version is prepared in a staging folder beside the others. On a file system one rename makes it a
version, which is atomic. An object store has no such rename (a flat bucket copies one object after
the other), so there the store copies the files into the folder of a claimed number, and
`saved_model.pb` last. Without that file nothing is a version to our readers. TensorFlow Serving
looks at numbers alone: it fails to load the folder, keeps serving the version before, and tries
again a minute later, five times.
"""

import dataclasses
import datetime
import functools
import itertools
import json
import logging
import os
import random
import re
import stat
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import tensorflow as tf
from tfx.components.pusher import executor as tfx_pusher
from tfx.dsl.io import fileio
from tfx.proto import pusher_pb2
from tfx.types import artifact_utils, standard_component_specs
from tfx.types.artifact import Artifact
from tfx.utils import io_utils, path_utils, proto_utils

from components.binding import ACCOUNT, WRITTEN, fields_of_push, is_news
from components.bound import bind
from components.champion import served_version
from components.changes import Change, now, whoami
from components.evaluator.explained import read_explanations
from components.evaluator.gate import BEST
from components.journal import Entry, append
from components.manifest import (
    CARD,
    CLAIM,
    EXTRA,
    MODEL_SHA256,
    digest,
    write_manifest,
)
from components.seen import digest_as_seen
from components.versions import (
    Card,
    PushedBy,
    address_of,
    card_in,
    list_versions,
    newest,
    read_card,
    same_model,
    unreadable,
    withdrawn_by,
)
from foundation.errors import ConfigError, RunError
from foundation.events import Fields
from foundation.json import dumps
from foundation.locks import serving_lock
from foundation.rights import give
from foundation.versions import SAVED_MODEL, STAGING, newest_version, numbers, sweep
from foundation.whole import sync, sync_tree
from trainer.classes import class_names_of

WITHDRAWN = "withdrawn"
"""Custom property of what was not pushed although it was blessed: who rolled back from the model,
when and why, as JSON."""

FORCED = "forced"
"""Custom property of what was not pushed although its blessing is in force: who gave that by hand,
when and why, as JSON."""

MET = "champion"
"""Execution property with Champion's answer: what was served when the run began."""

FAILURES = (OSError, tf.errors.OpError)

log = logging.getLogger("gauntlet.pusher")


class Executor(tfx_pusher.Executor):
    """TFX copies a model file by file into its final folder, so a full disk would leave a part of
    it.

    Here a version is whole or not at all. What is left after a failure is removed. A model that is
    the newest version already is not pushed again.
    """

    def Do(
        self,
        input_dict: dict[str, list[Artifact]],
        output_dict: dict[str, list[Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Push when blessed.

        Raises:
            RunError: the model could not be written; the message says whether the destination is
                as it was.
        """
        destination = pusher_pb2.PushDestination()
        proto_utils.json_to_proto(
            exec_properties[standard_component_specs.PUSH_DESTINATION_KEY], destination
        )
        base = destination.filesystem.base_directory
        pushed = artifact_utils.get_single_instance(
            output_dict[standard_component_specs.PUSHED_MODEL_KEY]
        )
        model = artifact_utils.get_single_instance(input_dict[standard_component_specs.MODEL_KEY])
        run = account_in(exec_properties)
        pushed.set_string_custom_property(ACCOUNT, dumps(run, indent=None))
        (blessing,) = input_dict[standard_component_specs.MODEL_BLESSING_KEY]
        if not self.CheckBlessing(input_dict) or _is_forced(blessing):
            is_blessed = blessing.get_int_custom_property("blessed") == 1
            kind, name = (Change.FORCED, FORCED) if is_blessed else (Change.WITHDRAWN, WITHDRAWN)
            if signature := blessing.get_string_custom_property(kind):
                pushed.set_string_custom_property(name, signature)
            self._MarkNotPushed(pushed)
            return
        run_id = run.get("run_id") or run_in(pushed.uri)
        source = self.GetModelPath(input_dict)
        judged = digest_as_seen(source, [each for (each,) in _blessings(input_dict)])
        card = card_of(model, blessing, kind=PushedBy.RUN, run_id=run_id, manifest_sha256=judged)
        require_readable(base)
        if rollback := withdrawn_by(base, card.model, judged):
            signature = {"by": rollback.by, "at": rollback.at, "reason": rollback.reason}
            pushed.set_string_custom_property(WITHDRAWN, dumps(signature, indent=None))
            self._MarkNotPushed(pushed)
            return
        self._require_champion(base, card, exec_properties)
        with serving_lock(base):
            fields = fields_of_push(base, run)
            version = served_already(base, card)
            if version is None or is_news(base, fields):
                card = dataclasses.replace(card, of=version, **fields)
                check = functools.partial(
                    self._require_unchanged, base, card, exec_properties, fields
                )
                version = publish(source, base, card, check)
                pushed.set_int_custom_property(WRITTEN, 1)
            settle(base)
        pushed.set_string_custom_property(MODEL_SHA256, judged)
        self._MarkPushed(
            pushed, pushed_destination=os.path.join(base, version), pushed_version=version
        )

    def _require_unchanged(
        self, base: str, card: Card, exec_properties: dict[str, Any], fields: dict[str, Any]
    ) -> None:
        """Raises RunError where somebody has pushed, rolled back, or bound the folder to other
        terms, during the push."""
        if not fields_of_push(base, account_in(exec_properties)).items() <= fields.items():
            raise RunError(f"the terms of {base} changed during the push; run again")
        require_readable(base)
        if rollback := withdrawn_by(base, card.model, card.manifest_sha256):
            raise RunError(f"{rollback.by} rolled back from the model while it was being pushed")
        self._require_champion(base, card, exec_properties)

    def _require_champion(self, base: str, card: Card, exec_properties: dict[str, Any]) -> None:
        """Raises RunError where another model is served than when the run began, or nobody knows
        what it is. In other people's pipelines there may be no Champion that looked."""
        met = exec_properties.get(MET)
        if met is None:
            return
        served = served_version(base)
        if served == met or (served and same_model(read_card(served), card)):
            return
        raise RunError(
            f"{served or 'nothing'} is served now, and {met or 'nothing'} when the run began: "
            "somebody pushed or rolled back meanwhile; run again, which repeats the comparison only"
        )


def account_in(exec_properties: dict[str, Any]) -> dict[str, Any]:
    """What the run says of itself; empty in other people's pipelines."""
    return json.loads(exec_properties.get("custom_config") or "null") or {}


def _blessings(input_dict: dict[str, list[Artifact]]) -> list[list[Artifact]]:
    keys = (
        standard_component_specs.MODEL_BLESSING_KEY,
        standard_component_specs.INFRA_BLESSING_KEY,
    )
    return [input_dict[key] for key in keys if input_dict.get(key)]


def _is_forced(blessing: Artifact) -> bool:
    """Whether somebody has given the blessing by hand: that is no reason for a run to push."""
    forced = json.loads(blessing.get_string_custom_property(Change.FORCED) or "null")
    if forced:
        log.warning(
            "The blessing of this model was given by force: by %s on %s (%s). A run pushes only "
            "what its gates let through; a forced version is served again by `gauntlet rollback`",
            forced["by"],
            forced["at"],
            forced["reason"],
            extra=Fields(stays=True),
        )
    return bool(forced)


def require_readable(base: str) -> None:
    """Raises RunError where a version may be a rollback from the model, and nobody can tell."""
    if lost := unreadable(base):
        named = "; ".join(f"version {each.version}: {each.problem}" for each in lost)
        raise RunError(
            f"nothing is pushed to {base}, because nobody can tell whether somebody rolled back "
            f"from the model: {named}, and no journal has it. Restore the card, or take the folder "
            "of the version away"
        )


def served_already(base: str, card: Card) -> str | None:
    """The number of the served version, where that is this model, as it was pushed."""
    served = newest(base)
    if served is None or served.problem or not same_model(served.card, card):
        return None
    if served.card.manifest_sha256 is None:  # of before there were manifests
        return None
    return served.version


def card_of(model: Artifact, blessing: Artifact, **more: Any) -> Card:
    """The card of a version: the model's artifact and classes, what the gates measured, and how it
    came here."""
    gates = read_explanations(blessing.uri)
    values = {gate.name: gate.value for gate in gates}
    reasons = [gate.not_compared for gate in gates if gate.not_compared and gate.name != BEST]
    return Card(
        model=address_of(model.mlmd_artifact),
        model_id=model.id,
        clean=values.get("clean"),
        worst_case=values.get("worst_case"),
        certified=values.get("certified"),
        class_names=class_names_of(path_utils.serving_model_path(model.uri)),
        not_compared=next(iter(reasons), None),
        **more,
    )


def run_in(uri: str) -> str:
    """The run in the address of what a platform's task writes, `.../RUN/Pusher.../...`; '' where
    there is none."""
    found = re.search(r"([^/]+)/Pusher[^/]*/", uri)
    return found[1] if found else ""


def publish(source: str, base: str, card: Card, check: Callable[[], None] = lambda: None) -> str:
    """Copy an exported model to a new version under `base`, whole or not at all; returns its
    number.

    The number is above all that are there, so a server takes the new version. Two at once get two
    numbers.

    card: where it has the digest of the model, what is copied must have it. check: called when all
    is copied, right before the version becomes one; what it raises ends the push.

    Raises:
        RunError: it could not be written; the message says whether `base` is as it was.
    """
    staging = os.path.join(base, f"{STAGING}{uuid.uuid4().hex}")
    written = [staging]
    try:
        with serving_lock(base):
            sweep(base)
            _stage(source, staging, card)
            check()
            note = _note(staging)
            append(base, note)
            version = _move(staging, base, written) if "://" in base else _rename(staging, base)
            _complete(base, note, version)
    except BaseException as error:
        left = _remove(written)
        if not isinstance(error, FAILURES):
            raise
        outcome = f"not all could be removed again: {left}" if left else "nothing was changed there"
        raise RunError(f"the model could not be pushed to {base}: {error}; {outcome}") from error
    if left := _remove(written):
        logging.warning("Version %s is pushed, but this is left: %s", version, left)
    return version


def _stage(source: str, staging: str, card: Card) -> None:
    """Copy the model, write its manifest and its card, and bring all to the disk."""
    io_utils.copy_dir(source, staging)
    fileio.makedirs(os.path.join(staging, EXTRA))
    copied = write_manifest(staging)
    if card.manifest_sha256 not in (None, copied):
        raise RunError(f"the files in {source} were changed while they were copied")
    push = uuid.uuid4().hex
    whole = dataclasses.replace(card, pushed_at=now(), manifest_sha256=copied, push=push)
    with fileio.open(os.path.join(staging, CARD), "w") as file:
        file.write(dumps(whole.plain()))
    if "://" not in staging:
        _open_for_readers(Path(staging))
        sync_tree(Path(staging))


def _open_for_readers(staging: Path) -> None:
    """Whoever may read the folder of the versions may read this one, whatever the umask of this
    process; who may write there may remove it, and nobody shall change its files."""
    mode = stat.S_IMODE(staging.parent.stat().st_mode)
    for parent, _, names in os.walk(staging):
        give(Path(parent), mode & 0o2775 | 0o700)
        for name in names:
            give(Path(parent, name), mode & 0o044 | 0o600)


def _note(staging: str) -> Entry:
    """What the journal keeps of a version that is about to appear."""
    with fileio.open(os.path.join(staging, CARD), "rb") as file:
        content = file.read()
    card = card_in(content)
    return Entry(
        what=card.kind,
        by=card.by or whoami(),
        at=now(),
        reason=card.reason or "",
        model=card.model,
        model_sha256=card.manifest_sha256 or "",
        card=card.plain(),
        card_sha256=digest(content),
    )


def _complete(base: str, note: Entry, version: str) -> None:
    """Note that the version is there. It is, so a journal that cannot be written is only told of:
    the next change completes it."""
    try:
        append(base, dataclasses.replace(note, version=version, at=now()))
    except OSError as error:
        logging.warning("Version %s is pushed, but not noted in the journal: %s", version, error)


def settle(base: str) -> None:
    """Complete what the journal has on versions whose push was killed right after they appeared,
    and have the folder bound by the terms of what is served. What cannot be read or written is only
    told of: the versions are there, and the next change completes it. Call it under their lock."""
    try:
        for version, entry in unsettled(base).items():
            append(base, dataclasses.replace(entry, version=version, at=now()))
        bind(base)
    except (ConfigError, *FAILURES) as error:
        served = newest_version(base)
        log.warning("version %s is served; %s", served, error, extra=Fields(stays=True))


def unsettled(base: str) -> dict[str, Entry]:
    """What the journal has on such versions, by their numbers."""
    entries = {version.version: version.entry for version in list_versions(base)}
    return {number: each for number, each in entries.items() if each and not each.version}


def _rename(staging: str, base: str) -> str:
    """Rename the staged version to the next free number; another push may take it first."""
    while True:
        number = _next_number(base)
        try:
            fileio.rename(staging, os.path.join(base, str(number)))
        except FAILURES:
            if _highest(base) < number:  # it was not taken, so something else is wrong
                raise
        else:
            _sync_name(base, number)
            return str(number)


def _sync_name(base: str, number: int) -> None:
    """Bring the name of a version to the disk. The version is there, whether that works or not."""
    try:
        sync(Path(base))
    except OSError as error:
        log.warning(
            "Version %s is pushed, but a power cut may undo that: %s", number, error,
            extra=Fields(stays=True),
        )  # fmt: skip


def _move(staging: str, base: str, written: list[str]) -> str:
    """Move the staged files into the folder of a claimed number, `saved_model.pb` last.

    Within a bucket nothing is sent again: the store copies, so the folder is there in part for a
    moment only.
    """
    names = _files(staging)
    version = _claim(base, written)
    for name in names:
        target = os.path.join(base, version, name)
        written.append(target)
        fileio.rename(os.path.join(staging, name), target, overwrite=True)
    del written[2:]  # the version stays; the staging folder and the claim go
    return version


def _claim(base: str, written: list[str]) -> str:
    """Take a number, and hold it by an object in its folder.

    The claim is written first and the folder listed then, and a listing shows all that was written
    before it (GCS is strongly consistent). So of two pushes with one number the one that writes
    second sees the other's claim, or the card that is there before the claim goes: never do both
    stay. Both may leave; then each draws from twice as many numbers.
    """
    for attempt in itertools.count():
        version = str(_next_number(base) + random.randrange(2**attempt))
        claim = os.path.join(base, version, f"{CLAIM}{uuid.uuid4().hex}")
        written[1:] = [claim]
        with fileio.open(claim, "w") as file:
            file.write("")
        if fileio.listdir(os.path.dirname(claim)) == [os.path.basename(claim)]:
            break
        fileio.remove(claim)
    return version


def _next_number(base: str) -> int:
    return max(int(datetime.datetime.now().timestamp()), _highest(base) + 1)


def _highest(base: str) -> int:
    """The highest number that is there, of a version or of a push that has not completed."""
    return int(next(reversed(numbers(base)), 0))


def _files(folder: str) -> list[str]:
    """The files under a folder, relative to it, `saved_model.pb` last."""
    parts = [(parent, names) for parent, _, names in fileio.walk(folder)]
    paths = [os.path.join(parent, name) for parent, names in parts for name in names]
    files = [path.removeprefix(f"{folder}/") for path in paths]
    return sorted(files, key=lambda name: (name == SAVED_MODEL, name))


def _remove(written: list[str]) -> str:
    """Remove what is left of all that was written, the last first; returns what went wrong."""
    try:
        for path in reversed(written):
            if fileio.isdir(path):
                fileio.rmtree(path)
            elif fileio.exists(path):
                fileio.remove(path)
    except FAILURES as error:
        return f"{path}: {error}"
    return ""
