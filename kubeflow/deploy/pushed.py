"""Which pushed version is served elsewhere, and whether it may be."""

from collections.abc import Callable
from dataclasses import dataclass

from gauntlet_kubeflow.deploy.request import Place

from components.versions import (
    NO_CARD,
    Card,
    PushedBy,
    Version,
    examine,
    list_versions,
    withdrawn_by,
)
from foundation.errors import ConfigError
from foundation.events import phase


@dataclass(frozen=True, kw_only=True)
class Pushed:
    """A version as the platform sees it.

    folder: of numbered versions. newest: whether no later version lies there; None where that
        cannot be read from here.
    """

    folder: str
    version: str
    card: Card
    newest: bool | None
    rollback: Card | None = None

    @property
    def uri(self) -> str:
        """Folder of the version."""
        return f"{self.folder}/{self.version}"


def chosen_in_store(place: Place) -> Pushed:
    """The version of a place that can be read from here; for a process of its own, because an
    object store is read with TensorFlow."""
    with phase("read the store"):
        return chosen(place, place.folder)


def chosen(
    place: Place, readable: str, compared: Callable[[Version], Version] = lambda version: version
) -> Pushed:
    """The version of a place.

    Args:
        place: where the platform finds it.
        readable: the folder of versions as it can be read here; '' where it cannot.
        compared: what is known of it elsewhere, as its problem.

    Raises:
        ConfigError: there is no such version, or it is not what was pushed.
    """
    if not readable:
        if not place.version:
            raise ConfigError(
                f"the versions in {place.folder} cannot be listed from here; name one, "
                f"{place.folder}/VERSION"
            )
        return Pushed(folder=place.folder, version=place.version, card=Card(), newest=None)
    versions = {version.version: version for version in list_versions(readable)}
    if not versions:
        raise ConfigError(f"nothing has been pushed in {readable} yet")
    newest = next(reversed(versions))
    version = versions.get(place.version or newest)
    if not version:
        raise ConfigError(
            f"there is no version {place.version} in {readable}; there are {', '.join(versions)}"
        )
    version = compared(examine(readable, version))
    if version.problem not in ("", NO_CARD):  # without a card, see `check`
        raise ConfigError(
            f"version {version.version} in {readable} is served nowhere else: "
            f"{'it is damaged: ' * version.damaged}{version.problem}"
        )
    card = version.card
    return _pushed(place, version, withdrawn_by(readable, card.model, card.manifest_sha256))


def _pushed(place: Place, version: Version, rollback: Card | None) -> Pushed:
    return Pushed(
        folder=place.folder,
        version=version.version,
        card=version.card,
        newest=version.serving,
        rollback=rollback,
    )


def check(pushed: Pushed) -> None:
    """Raises ConfigError for a version that passed no gate, as far as its card says."""
    card = pushed.card
    if not card.model:
        raise ConfigError(
            f"version {pushed.version} has no card that could be read, so nobody knows whether a "
            "gate let it pass; name its pipeline with --root, or say --force"
        )
    if card.kind is PushedBy.FORCED or card.refused_by:
        refused = f": {card.refused_by} refused it" if card.refused_by else ""
        raise ConfigError(
            f"version {pushed.version} was pushed by force{refused}; say --force if it shall be "
            "served elsewhere too"
        )
    if pushed.rollback:
        raise ConfigError(
            f"a rollback of {pushed.rollback.at} by {pushed.rollback.by} went back from the model "
            f"of version {pushed.version}; say --force if it shall be served elsewhere"
        )
