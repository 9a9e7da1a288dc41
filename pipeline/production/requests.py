"""What the command line may ask of the models in production; read without TFX."""

from dataclasses import dataclass
from pathlib import Path

from pipeline.root.root import Root


@dataclass(frozen=True, kw_only=True)
class Rollback:
    """Serve an earlier version again.

    version: its number; None for the newest one of an earlier model whose blessing is in force.
    reason: why, for the metadata and every later listing. by: who they say they are.
    """

    root: Root
    version: str | None = None
    reason: str
    by: str = ""


@dataclass(frozen=True, kw_only=True)
class StoreRollback:
    """Serve an earlier version of a platform's store again.

    serving: folder of the versions. version, reason, by: see `Rollback`.
    """

    serving: str
    version: str | None = None
    reason: str
    by: str = ""


@dataclass(frozen=True, kw_only=True)
class ForcedPush:
    """Bless and push the model of a run that the gates refused.

    run_id: name of the run; None for the latest, where no other was refused.
    reason: why, for the metadata and every later listing. by: who they say they are.
    """

    root: Root
    run_id: str | None = None
    reason: str
    by: str = ""


@dataclass(frozen=True, kw_only=True)
class Classification:
    """Classify PNG files with the served model."""

    root: Root
    images: tuple[Path, ...]

    def check(self) -> None:
        """Look at the files before anything is loaded.

        Raises:
            DataError: some are missing or no PNG; all of these are counted.
        """
        from components.datasets.folder.content import Unusable, require_png
        from components.datasets.folder.problems import Problems

        problems = Problems(Path())
        for image in self.images:
            try:
                require_png(image)
            except Unusable as error:
                problems.add(str(image), str(error))
        problems.refuse(len(self.images))
