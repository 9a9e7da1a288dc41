"""The versions of a root, compared with all that is known of them: their manifests, the journal,
the metadata. Read without TFX."""

import dataclasses
from typing import TYPE_CHECKING

from components.versions import Version, examined
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
