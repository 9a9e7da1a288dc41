"""The versions of a root, compared with all that is known of them: their manifests, the journal,
the metadata. Read without TFX."""

import dataclasses
from typing import TYPE_CHECKING

from components.versions import Version, examined, list_versions
from foundation.errors import RunError
from pipeline.root.root import Root

if TYPE_CHECKING:
    from pipeline.root.pushed import Records


def list_root(root: Root) -> list[Version]:
    """All versions, oldest first, by a user who may only read too.

    Raises:
        RunError: the metadata cannot be read.
    """
    with root.known() as store:
        if store is None:
            return examined(str(root.serving))
        from pipeline.root.pushed import Records

        return compared(str(root.serving), Records(store))


def compared(serving: str, records: "Records") -> list[Version]:
    """The same with metadata that are open already. serving: folder of the versions."""
    return [
        dataclasses.replace(version, problem=version.problem or records.contradiction(version))
        for version in examined(serving)
    ]


def require_same(serving: str, pushed: list[Version]) -> None:
    """Raises RunError where the versions are not those of a listing any more, by the digests of
    their cards: so a change that has looked at every file need not hold their lock meanwhile."""

    def known(listed: list[Version]) -> list[tuple[str, str]]:
        return [(each.version, each.card_sha256) for each in listed]

    if known(list_versions(serving)) != known(pushed):
        raise RunError(
            f"somebody else changed the versions in {serving} meanwhile; nothing was changed. Look "
            "at them by `gauntlet models`, and try again"
        )
