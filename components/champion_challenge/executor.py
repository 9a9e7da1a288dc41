"""Shows the champion what the candidate was shown, attacks it with the same suite, and shows the
candidate the rest."""

import logging
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
from apache_beam.utils.shared import Shared
from tfx.dsl.components.base.base_beam_executor import BaseBeamExecutor
from tfx.types import artifact_utils
from tfx.types.artifact import Artifact
from tfx.types.standard_artifacts import Model

from components.adversarial_example_gen.attack import BATCH, attack, attacked_rows, origins_of
from components.adversarial_example_gen.config import AttackTask
from components.adversarial_example_gen.executor import read_task
from components.adversarial_example_gen.networks import export_of, load_network, load_networks
from components.champion import other_classes
from components.champion_challenge.rivalry import Rivalry, write_rivalry
from components.records.checks import read_checks, write_checks
from components.records.names import CHAMPION, CLEAN, ROBUST, Origin
from components.records.record import Rows, read_rows
from components.records.shards import list_shards
from components.records.writer import write_rows
from components.versions import address_of, read_card
from foundation.errors import ConfigError
from foundation.events import Fields
from robustness.attacks.attacker import Attacker
from robustness.evaluation import Judge
from robustness.types import IntArray
from trainer.classes import Classes, classes_of

log = logging.getLogger("gauntlet.champion_challenge")

ACCEPT_CLASSES = "accept_classes"
"""Execution property: 1 where the champion may know other classes."""

NOT_COMPARED, BEST = "not_compared", "best"
"""Execution properties with what Champion answers beside the version."""

NO_NAMES = "an export without class names was compared by the number of its classes only"


class Executor(BaseBeamExecutor):
    """Executor of ChampionChallenge."""

    def Do(
        self,
        input_dict: dict[str, list[Artifact]],
        output_dict: dict[str, list[Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Read the rows, add the champion, write them, verify them.

        Raises:
            ConfigError: the models are not those that were attacked.
            DataError: the champion knows other classes, and that is not accepted.
            RunError: what was written is not right (`write_rows`).
        """
        adversarial = input_dict["adversarial_examples"]
        attacked = artifact_utils.get_single_uri(adversarial)
        task = read_task(attacked)
        inputs = {name: got for name, got in input_dict.items() if isinstance(got[0], Model)}
        models = {name: export_of(inputs[name]) for name in sorted(inputs)}
        candidate = artifact_utils.get_single_instance(inputs[ROBUST])
        accepted = bool(exec_properties.get(ACCEPT_CLASSES))
        rivalry = rival(candidate, exec_properties.get(CHAMPION, ""), accepted).completed(
            exec_properties.get(NOT_COMPARED, ""), exec_properties.get(BEST, "")
        )
        source = ChallengedRows(task, models, rivalry.champion or None)
        shards = list_shards(artifact_utils.get_split_uri(adversarial, task.split))
        output = artifact_utils.get_single_instance(output_dict["challenged_examples"])
        write_checks(output.uri, read_checks(attacked))
        write_rivalry(output.uri, rivalry)
        write_rows(self._make_beam_pipeline(), source, shards, output, task.split)


def rival(candidate: Artifact, champion: str, accepted: bool = False) -> Rivalry:
    """Whether the candidate can be compared with the champion.

    champion: folder of the version that is served, or ''. accepted: whether it may know other
    classes, and is then not compared.

    Raises:
        DataError: it knows other classes, and that is not accepted.
    """
    rivalry = _rivalry(candidate, champion, accepted)
    if rivalry.champion:
        log.info("the champion is %s", champion)
    else:
        log.info("not compared: %s", rivalry.reason or "no model is served yet")
    return rivalry


def _rivalry(candidate: Artifact, champion: str, accepted: bool) -> Rivalry:
    if not champion:
        return Rivalry()
    if read_card(champion).model == address_of(candidate):
        return Rivalry(reason="the candidate is the model that is served")
    export = export_of([candidate])
    (our_shape, ours), (their_shape, theirs) = (seen_of(path) for path in (export, champion))
    if difference := other_classes(champion, theirs, ours, accepted):
        return Rivalry(reason=f"the champion knows other classes ({difference}), accepted")
    if our_shape != their_shape:
        shapes = f"{their_shape}, the candidate {our_shape}"
        return Rivalry(reason=f"the champion takes images of another shape: {shapes}")
    return Rivalry(champion=champion, note="" if theirs.names and ours.names else NO_NAMES)


def seen_of(path: str) -> tuple[tuple[int, int, int], Classes]:
    """Shape of the images that an exported model takes, and its classes."""
    network = load_network(path)
    return network.image_shape, replace(classes_of(path), count=network.classes)


class ChallengedRows:
    """The rows of AdversarialExampleGen with the champion's prediction on each (-1 without a
    champion), and the rows of the attacks on it: see `components.records.writer.RowSource`."""

    def __init__(self, task: AttackTask, models: dict[str, str], champion: str | None) -> None:
        self.threat = task.threat
        self._attacked = (Origin(CLEAN), *(o for model in models for o in origins_of(model)))
        self.origins = self._attacked + (origins_of(CHAMPION) if champion else ())
        self._task, self._models, self._champion = task, models, champion
        self._shared = Shared()

    def setup(self) -> None:
        self._loaded = self._shared.acquire(self._load)

    def _load(self) -> "Loaded":
        return Loaded(self._task, self._models, self._champion)

    def rows(self, shard: str) -> Iterator[Rows]:
        # As AdversarialExampleGen wrote them, that many rows are all rows of a batch of images.
        size = BATCH * len(self._attacked)
        for rows in read_rows([shard], size, self._loaded.image_shape):
            self._require_models(rows)
            yield rows.with_model(CHAMPION, self._loaded.champion_on(rows))
            if self._champion:
                yield from self._against_champion(rows[rows.attack == CLEAN])

    def _require_models(self, rows: Rows) -> None:
        if rows.predictions.keys() != self._models.keys():
            raise ConfigError(
                f"ChampionChallenge takes the models that were attacked, "
                f"{', '.join(sorted(rows.predictions))}; it got {', '.join(sorted(self._models))}"
            )

    def _against_champion(self, clean: Rows) -> Iterator[Rows]:
        assert clean.image is not None
        judge, ids = self._loaded.champion, clean.id.tolist()
        _, images = attack(CHAMPION, judge, clean.image, clean.label, ids, self._task.seed)
        yield from attacked_rows(clean, images, self._loaded.attackers)
        log.info("attacking the champion", extra=Fields(advance=len(clean)))


class Loaded:
    """What a worker process loads once."""

    def __init__(self, task: AttackTask, models: dict[str, str], champion: str | None) -> None:
        networks = load_networks(models | ({CHAMPION: champion} if champion else {}))
        self.image_shape = networks[ROBUST].image_shape
        self.attackers = {name: Attacker(n, task.threat) for name, n in networks.items()}
        if champion:
            model = networks[CHAMPION]
            self.champion = Judge(model, task.threat, task.attack.stages, self.image_shape)

    def champion_on(self, rows: Rows) -> IntArray:
        """Predictions of the champion, int64 [n]; -1 where there is none."""
        if CHAMPION not in self.attackers:
            return np.full(len(rows), -1)
        assert rows.image is not None
        parts = [rows.image[begin : begin + BATCH] for begin in range(0, len(rows), BATCH)]
        return np.concatenate([self.attackers[CHAMPION].predict(part) for part in parts])
