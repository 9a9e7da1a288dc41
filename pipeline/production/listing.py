"""The versions of a root, compared with all that is known of them: their manifests, the journal,
the metadata. Read without TFX."""

import dataclasses
import logging
from typing import TYPE_CHECKING

from components.versions import GONE_BACK, UNKNOWN, Card, Version, examined, list_versions
from foundation.errors import RunError
from foundation.events import Fields
from pipeline.root.root import Root

if TYPE_CHECKING:
    from pipeline.root.pushed import Records

log = logging.getLogger("gauntlet.listing")


def list_root(root: Root) -> list[Version]:
    """All versions, oldest first, by a user who may only read too.

    Raises:
        RunError: the metadata cannot be read.
    """
    with root.known() as store:
        if store is None:
            return examined(str(root.serving))
        from pipeline.root.pushed import Records

        records = Records(store)
        return [_in_force(each, records) for each in compared(str(root.serving), records)]


def compared(serving: str, records: "Records") -> list[Version]:
    """The same with metadata that are open already. serving: folder of the versions."""
    return [
        dataclasses.replace(version, problem=version.problem or records.contradiction(version))
        for version in examined(serving)
    ]


def _in_force(version: Version, records: "Records") -> Version:
    """The version that is served is that of a model from which nobody went back."""
    if version.problem or not version.serving or not records.is_withdrawn(version):
        return version
    return dataclasses.replace(version, problem=GONE_BACK)


def require_same(serving: str, pushed: list[Version]) -> None:
    """Raises RunError where the versions are not those of a listing any more, by their cards: so a
    change that has looked at every file need not hold their lock meanwhile."""

    def known(listed: list[Version]) -> list[tuple[str, Card]]:
        return [(each.version, each.card) for each in listed]

    if known(list_versions(serving)) != known(pushed):
        raise RunError(
            f"somebody else changed the versions in {serving} meanwhile; nothing was changed. Look "
            "at them by `gauntlet models`, and try again"
        )


def held_against(root: Root, version: Version) -> Version:
    """One version whose files are verified, compared with the metadata too, by a user who may only
    read too. Where these were lost, the journal answers for it; that, and that they cannot be read,
    is told."""
    if version.problem:
        return version
    try:
        with root.known() as store:
            if store is None:
                return version
            from pipeline.root.pushed import Records

            records = Records(store)
            problem = records.contradiction(version) or _in_force(version, records).problem
    except RunError as error:
        told = f"version {version.version} is not compared with the metadata: {error}"
        log.warning("%s", told, extra=Fields(stays=True))
        return version
    if problem == UNKNOWN and version.entry:
        told = f"the metadata do not know version {version.version}: its journal alone is believed"
        log.warning("%s", told, extra=Fields(stays=True))
        return version
    return dataclasses.replace(version, problem=problem)
