"""That all see the same files of a model: those who attack it, judge it and push it."""

import logging
from collections.abc import Iterable

from tfx.types.artifact import Artifact

from components.manifest import MODEL_SHA256, digest_of
from foundation.errors import RunError

log = logging.getLogger("gauntlet.seen")


def digest_as_seen(source: str, by: Iterable[Artifact]) -> str:
    """The digest of a model, which must be the one that others have looked at.

    source: folder of the export. by: what they wrote, each with `MODEL_SHA256` as a property.

    Raises:
        RunError: it is another one by now.
    """
    there = digest_of(source)
    for artifact in by:
        seen = artifact.get_string_custom_property(MODEL_SHA256)
        if not seen:
            log.info(
                "%s does not say of which digest it tells; it was made by an earlier Gauntlet",
                artifact.uri,
            )
        elif seen != there:
            raise RunError(
                f"the model in {source} is not the one that was judged: its files were changed "
                f"since {artifact.uri} was written (SHA-256 of their list {there}, then {seen}). "
                "Restore them, or remove the folder and train again"
            )
    return there
