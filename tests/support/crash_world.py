"""A root whose production is changed, what changes it, and how it looks."""

import hashlib
import json
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from disk import Tree
from ml_metadata.metadata_store.metadata_store import MetadataStore
from ml_metadata.proto import metadata_store_pb2 as mlmd
from tfx.proto import pusher_pb2
from tfx.types import artifact_utils
from tfx.types.artifact import Artifact
from tfx.types.standard_artifacts import PushedModel
from tfx.utils import proto_utils
from three_runs import record

from components import pusher
from components.binding import account
from components.champion import served_version
from components.changes import Change
from components.versions import Version, list_versions
from foundation.versions import numbers, versions
from pipeline.definition.config import override
from pipeline.definition.presets import preset
from pipeline.definition.terms import terms_of
from pipeline.local.job import _mend
from pipeline.production.forced_push import push_refused
from pipeline.production.requests import ForcedPush, Rollback, StoreRollback
from pipeline.production.rollback import serve_again, serve_again_in_store
from pipeline.root.blessings import is_blessed
from pipeline.root.root import Root

RUNS = ("run-1", "run-2", "run-3", "run-4")
REFUSED = "run-3"
EXTRA = "assets.extra"


def new_root(folder: Path, pushed: tuple[str, ...]) -> None:
    """Four runs, of which the gates refused the third; some of the others were pushed."""
    root = Root(folder)
    folder.mkdir()
    with root.metadata() as store:
        for name in ("pipeline_run", "node"):
            store.put_context_type(mlmd.ContextType(name=name))
        for run in RUNS:
            record(store, root, run, blessed=run != REFUSED)
            fill(folder / "artifacts" / run / "model" / "Format-Serving", run)
        refused = artifact_of(store, "PushedModel", REFUSED)
        refused.custom_properties[pusher.ACCOUNT].string_value = json.dumps(account_of(REFUSED))
        store.put_artifacts([refused])
    for run in pushed:
        push(folder, run)


def fill(export: Path, run: str) -> None:
    """The other files of an export."""
    for name in ("variables/variables.index", "variables/variables.data-00000-of-00001"):
        (export / name).parent.mkdir(exist_ok=True)
        (export / name).write_bytes(f"{run} {name} ".encode() * 40)


def account_of(run: str) -> dict[str, Any]:
    """What a run says of itself: each asks for more than the one before."""
    clean = f"gates.clean=0.9{RUNS.index(run)}"
    return account(terms_of(override(preset("smoke"), [clean])), "", 0, "code")


def push(folder: Path, run: str) -> None:
    """What `gauntlet run` does at its end, where everything before came from the cache: what killed
    runs have left is mended, and the node Pusher runs, its artifact goes to the metadata."""
    root = Root(folder)
    with root.locked("in use"):
        _mend(root)
        with root.metadata() as store:
            _push(root, store, run)


def _push(root: Root, store: MetadataStore, run: str) -> None:
    model, blessing = (as_tfx(store, artifact_of(store, kind, run)) for kind in
                       ("Model", "ModelBlessing"))  # fmt: skip
    kind = store.put_execution_type(mlmd.ExecutionType(name="Pusher"))
    execution = mlmd.Execution(type_id=kind, last_known_state=mlmd.Execution.RUNNING)
    (execution.id,) = store.put_executions([execution])
    pushed = PushedModel()
    pushed.uri = str(root.artifacts / "Pusher" / "pushed_model" / str(execution.id))
    served = served_version(str(root.serving))
    filesystem = pusher_pb2.PushDestination.Filesystem(base_directory=str(root.serving))
    properties = {
        "push_destination": proto_utils.proto_to_json(
            pusher_pb2.PushDestination(filesystem=filesystem)
        ),
        "custom_config": json.dumps({"run_id": run} | account_of(run)),
        pusher.MET: served,
    }
    inputs = {"model": [model], "model_blessing": [blessing]}
    pusher.Executor().Do(inputs, {"pushed_model": [pushed]}, properties)
    assert pushed.get_int_custom_property("pushed") == 1
    pushed.mlmd_artifact.type_id = store.put_artifact_type(pushed.artifact_type)
    execution.last_known_state = mlmd.Execution.COMPLETE
    store.put_execution(execution, [(pushed.mlmd_artifact, None)], [])


def rollback(folder: Path, to: str | None = None) -> None:
    """`gauntlet rollback`; to: run whose version is named."""
    version = version_of(folder, to) if to else None
    serve_again(Rollback(root=Root(folder), version=version, reason="too slow"))


def rollback_in_store(folder: Path) -> None:
    """`gauntlet rollback --store`, of a store that is mounted here."""
    serve_again_in_store(StoreRollback(serving=str(folder / "serving"), reason="too slow"))


def bless(folder: Path, run: str) -> None:
    """`gauntlet bless --force`."""
    push_refused(ForcedPush(root=Root(folder), run_id=run, reason="nothing better"))


def version_of(folder: Path, run: str) -> str:
    """The first version with the model of a run."""
    listed = list_versions(str(folder / "serving"))
    return next(v.version for v in listed if run in v.card.model.split("/"))


def artifact_of(store: MetadataStore, kind: str, run: str) -> mlmd.Artifact:
    """The artifact of a kind that a run made."""
    (found,) = [a for a in store.get_artifacts_by_type(kind) if a.name == run]
    return found


def as_tfx(store: MetadataStore, artifact: mlmd.Artifact) -> Artifact:
    """The same for TFX."""
    (kind,) = store.get_artifact_types_by_id([artifact.type_id])
    return artifact_utils.deserialize_artifact(kind, artifact)


class Blessing(NamedTuple):
    """What the metadata say of a model's blessing."""

    in_force: bool
    forced: bool
    withdrawn: bool


@dataclass(frozen=True)
class State:
    """What is served, and what the metadata say.

    served: run whose model is. versions, others: names under `serving`. files: digests of all under
    `serving`. blessings: by run.
    """

    served: str
    versions: tuple[str, ...]
    others: frozenset[str]
    files: dict[str, str]
    blessings: dict[str, "Blessing"]

    @property
    def in_force(self) -> frozenset[str]:
        """The runs whose blessing is in force."""
        return frozenset(run for run, blessing in self.blessings.items() if blessing.in_force)


def look(folder: Path) -> State:
    """The state of a root, from its files and its metadata alone."""
    root = Root(folder)
    there = versions(str(root.serving))
    others = set(os.listdir(root.serving)) - set(there) if root.serving.exists() else set()
    with root.metadata() as store:
        blessings = {b.name: _said(b) for b in store.get_artifacts_by_type("ModelBlessing")}
    return State(
        served=(root.serving / there[-1] / "saved_model.pb").read_text() if there else "",
        versions=tuple(there),
        others=frozenset(others),
        files=digests(root.serving),
        blessings=blessings,
    )


def _said(blessing: mlmd.Artifact) -> Blessing:
    noted = blessing.custom_properties
    return Blessing(is_blessed(blessing), Change.FORCED in noted, Change.WITHDRAWN in noted)


def digests(folder: Path) -> dict[str, str]:
    """SHA-256 of all files of a folder by their paths in it."""
    found = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    files = [path for path in found if path.name != ".lock"]  # it says who held it last
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in files
    }


def restore(template: Path, folder: Path) -> None:
    """The root as it was: same paths, because the metadata have them."""
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(template, folder, symlinks=True)


def lay(tree: Tree, folder: Path) -> None:
    """Put what a power cut has left in the place of what is there now."""
    for name in {path.split("/")[1] for path in tree if path} | _others(folder):
        place = folder / name
        if place.is_dir():
            shutil.rmtree(place)
        else:
            place.unlink(missing_ok=True)
    for path, content in tree.items():
        if content is None:
            (folder / path[1:]).mkdir(exist_ok=True)
        else:
            (folder / path[1:]).write_bytes(content)


def _others(folder: Path) -> set[str]:
    from crashing import not_followed

    return {name for name in os.listdir(folder) if not not_followed(name)}


def whole_versions(folder: Path) -> list[str]:
    """What is wrong with the versions, by the models that they are copies of."""
    wrong = []
    serving = folder / "serving"
    for version in list_versions(str(serving)):
        wrong += [f"{version.version}: {problem}" for problem in _wrong(serving, version)]
    half = set(numbers(str(serving))) - {v.version for v in list_versions(str(serving))}
    return wrong + [f"{number} is no version" for number in sorted(half)]


def _wrong(serving: Path, version: Version) -> list[str]:
    if not version.card.model:
        return ["no card"]
    own = digests(serving / version.version)
    source = digests(Path(version.card.model) / "Format-Serving")
    expected = {name: digest for name, digest in own.items() if name.startswith(f"{EXTRA}/")}
    return [
        f"{name} is not as judged"
        for name in sorted(own.keys() | source.keys())
        if own.get(name) != (source | expected).get(name)
    ]
