"""Champion: the model that is served, which the next one is compared with, where both are for the
same purpose and know the same classes; the run ends here where it may not push.

A node and no resolver, because Kubeflow has none: it looks where models are pushed to. So it is the
same on every platform, and right after a rollback and after a push by hand.
"""

import logging
import os
from typing import TypedDict

from tfx.dsl.component.experimental.annotations import InputArtifact, Parameter
from tfx.dsl.component.experimental.decorators import component
from tfx.types.standard_artifacts import Schema

from components.binding import Agreement, agree
from components.bound import best_worst_case, listed, no_best
from components.class_names import names_in
from components.curated_schema import read_schema
from components.mandate import Mandate
from components.policy import Terms
from components.versions import Version, examine, list_versions, same_model, way_back
from foundation.errors import RefusedData, RunError
from foundation.json import dumps
from foundation.locks import serving_lock
from trainer.classes import Classes, classes_of, differences

log = logging.getLogger("gauntlet.terms")

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
        RunError: it is not what was pushed, or nobody pushed it: nothing can be compared with it.
    """
    known = {version.version: version for version in list_versions(serving)}
    if not known:
        return ""
    version = examine(serving, known[next(reversed(known))])
    require_sound(serving, version)
    while earlier := known.get(version.card.of or ""):
        earlier = examine(serving, earlier)
        is_before = int(earlier.version) < int(version.version)
        if not is_before or earlier.problem or not same_model(earlier.card, version.card):
            break
        version = earlier
    return os.path.join(serving, version.version)


def require_sound(serving: str, version: Version) -> None:
    """Raises RunError with the ways out where a served version cannot be a champion."""
    if not version.problem:
        return
    raise RunError(
        f"version {version.version} in {serving}, which is served, is "
        f"{'damaged' if version.damaged else 'no champion'}: {version.problem}. No model can be "
        f"compared with it; {way_back(serving, version)}, or restore its files, or take its folder "
        "away"
    )


def other_classes(champion: str, theirs: Classes, ours: Classes, accepted: bool) -> str:
    """How the champion's classes differ from the candidate's, where that is accepted; '' where they
    do not.

    champion: folder of its version.

    Raises:
        DataError: they differ, and that is not accepted.
    """
    difference = differences(theirs, ours)
    if difference and not accepted:
        raise RefusedData(
            f"the model that is served ({champion}) knows other classes: {difference}. The two "
            f"cannot be compared; {WAYS_OUT}"
        )
    return difference


class Served(TypedDict):
    """Output of Champion."""

    version: str
    served: str
    not_compared: str
    best: str


@component
def Champion(
    serving: Parameter[str],
    accept_classes: Parameter[int] = 0,
    seen: Parameter[str] = "",
    terms: Parameter[str] = "",
    mandate: Parameter[str] = "",
    schema: InputArtifact[Schema] = None,
) -> Served:
    """Says which version is served; raises ConfigError where models for another purpose are, or
    this run asks for less than they had to reach, and DataError where the served one knows other
    classes than the data.

    Its answers are values and no artifacts, so that the nodes which take them are known again by
    their caches as long as the champion is the same.

    serving: folder of pushed versions. accept_classes: 1 where other classes are no error. schema:
    names of the data's classes; without it nothing is compared. seen: what the orchestrator's cache
    must see, what lies in `serving` where that is known beforehand; where it is not, this node must
    never be cached. terms: `Terms` of the run as JSON; without it they are not compared. mandate:
    `Mandate` as JSON.

    Returns `version`: folder of the version to compare with, '' where there is none; `served`: of
    the one that is served, whether compared or not; `not_compared`: why the two differ, or '';
    `best`: the best worst case of the purpose as JSON, or why there is none, '' where no gate asks.
    """
    with serving_lock(serving):  # where the push could not take it, the run ends here
        pass
    served = served_version(serving)
    own = Terms.from_json(terms) if terms else None
    agreement = agree(serving, own, Mandate.of_json(mandate)) if own else Agreement()
    for note in agreement.notes:
        log.warning("%s", note)
    version = "" if agreement.differences else served
    if version and schema is not None:
        ours = Classes.of(names_in(read_schema(schema.uri)))
        other_classes(version, classes_of(version), ours, bool(accept_classes))
    return {
        "version": version,
        "served": served,
        "not_compared": agreement.not_compared if served else "",
        "best": best_in(serving, own) if own and own.policy.gates.best else "",
    }


def best_in(serving: str, terms: Terms) -> str:
    """The best worst case that was ever pushed for a purpose, or as `reason` why there is none; as
    JSON."""
    best = best_worst_case(listed(serving), terms)
    return dumps(best or {"reason": no_best(terms.purpose)}, indent=None)
