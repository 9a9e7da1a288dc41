"""Champion: the model that is served, which the next one is compared with.

A node and no resolver, because Kubeflow has none: it looks where models are pushed to. So it is the
same on every platform, and right after a rollback and after a push by hand.
"""

import os
from typing import TypedDict

from tfx.dsl.component.experimental.annotations import Parameter
from tfx.dsl.component.experimental.decorators import component

from components.versions import read_card
from foundation.versions import versions


def served_version(serving: str) -> str:
    """The folder of the version that is served below a folder of versions; '' where there is none.

    Of a version that a rollback has copied, the folder of the first one, so that the same model is
    the same champion: the caches then remember who has met it, and with which blessing.
    """
    known = versions(serving)
    if not known:
        return ""
    version = known[-1]
    card = read_card(os.path.join(serving, version))
    while card.of in known and int(card.of) < int(version):
        earlier = read_card(os.path.join(serving, card.of))
        if earlier.model != card.model:
            break
        version, card = card.of, earlier
    return os.path.join(serving, version)


class Served(TypedDict):
    """Output of Champion."""

    version: str


@component
def Champion(serving: Parameter[str], seen: Parameter[str] = "") -> Served:
    """Says which version is served.

    Its answer is a value and no artifact, so that the nodes which take it are known again by their
    caches as long as the champion is the same.

    serving: folder of pushed versions. seen: what the orchestrator's cache must see, the served
    version itself where it is known beforehand; where it is not, this node must never be cached.

    Returns `version`: folder of the served version, '' where there is none.
    """
    return {"version": served_version(serving)}
