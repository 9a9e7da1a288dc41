"""Champion: the model that is served, which the next one is compared with, where both know the same
classes.

A node and no resolver, because Kubeflow has none: it looks where models are pushed to. So it is the
same on every platform, and right after a rollback and after a push by hand.
"""

import os
from typing import TypedDict

from tfx.dsl.component.experimental.annotations import InputArtifact, Parameter
from tfx.dsl.component.experimental.decorators import component
from tfx.types.standard_artifacts import Schema

from components.class_names import names_in
from components.curated_schema import read_schema
from components.versions import examine, list_versions, same_model
from foundation.errors import DataError, RunError
from trainer.classes import Classes, classes_of, differences

WAYS_OUT = (
    "keep what has other classes in another --root (on a platform under another --name), or accept "
    "the change by --accept-classes (data.accept_classes=true)"
)
"""What to do about other classes."""


def served_version(serving: str) -> str:
    """The folder of the version that is served below a folder of versions; '' where there is none.

    Of a version that a rollback has copied, the folder of the first one, so that the same model is
    the same champion: the caches then remember who has met it, and with which blessing.

    Raises:
        RunError: it is not what was pushed, so nothing can be compared with it.
    """
    known = {version.version: version for version in list_versions(serving)}
    if not known:
        return ""
    version = examine(serving, known[next(reversed(known))])
    if version.damaged:
        raise RunError(
            f"version {version.version} in {serving}, which is served, is damaged: "
            f"{version.problem}. No model can be compared with it; serve an intact one by "
            "`gauntlet rollback`, or restore its files, or take its folder away"
        )
    while earlier := known.get(version.card.of or ""):
        earlier = examine(serving, earlier)
        is_before = int(earlier.version) < int(version.version)
        if not is_before or earlier.problem or not same_model(earlier.card, version.card):
            break
        version = earlier
    return os.path.join(serving, version.version)


def other_classes(champion: str, theirs: Classes, ours: Classes, accepted: bool) -> str:
    """How the champion's classes differ from the candidate's, where that is accepted; '' where they
    do not.

    champion: folder of its version.

    Raises:
        DataError: they differ, and that is not accepted.
    """
    difference = differences(theirs, ours)
    if difference and not accepted:
        raise DataError(
            f"the model that is served ({champion}) knows other classes: {difference}. The two "
            f"cannot be compared; {WAYS_OUT}"
        )
    return difference


class Served(TypedDict):
    """Output of Champion."""

    version: str


@component
def Champion(
    serving: Parameter[str],
    accept_classes: Parameter[int] = 0,
    seen: Parameter[str] = "",
    schema: InputArtifact[Schema] = None,
) -> Served:
    """Says which version is served, and raises DataError where it knows other classes than the
    data.

    Its answer is a value and no artifact, so that the nodes which take it are known again by their
    caches as long as the champion is the same.

    serving: folder of pushed versions. accept_classes: 1 where other classes are no error. schema:
    names of the data's classes; without it nothing is compared. seen: what the orchestrator's cache
    must see, the served version itself where it is known beforehand; where it is not, this node
    must never be cached.

    Returns `version`: folder of the served version, '' where there is none.
    """
    served = served_version(serving)
    if served and schema is not None:
        ours = Classes.of(names_in(read_schema(schema.uri)))
        other_classes(served, classes_of(served), ours, bool(accept_classes))
    return {"version": served}
