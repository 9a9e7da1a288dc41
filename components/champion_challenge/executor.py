"""Shows the champion what the candidate was shown, attacks it with the same suite, and shows the
candidate the rest.

Only the rows of the attacks on the champion are written, and each says what the champion predicts
on the other rows of its image: those are there already.
"""

import logging
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
from apache_beam.utils.shared import Shared
from tfx.dsl.components.base.base_beam_executor import BaseBeamExecutor
from tfx.types import artifact_utils
from tfx.types.artifact import Artifact
from tfx.types.standard_artifacts import Model

from components.adversarial_example_gen.attack import attack, attacked_rows, origins_of
from components.adversarial_example_gen.config import AttackTask
from components.adversarial_example_gen.executor import read_task
from components.adversarial_example_gen.networks import export_of, load_network, load_networks
from components.champion import other_classes
from components.champion_challenge.rivalry import Rivalry, write_rivalry
from components.manifest import MODEL_SHA256
from components.records.names import CHAMPION, CLEAN, ROBUST, Origin
from components.records.record import Rows, batch_of, read_rows
from components.records.shards import list_shards
from components.records.writer import read_written, write_rows
from components.seen import digest_as_seen
from components.versions import address_of, read_card
from foundation.errors import ConfigError, RunError
from foundation.events import Fields
from robustness.attacks.attacker import Attacker
from robustness.evaluation import Judge
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
        """Read the rows, attack the champion, write what that makes, verify it; without a champion
        nothing but the reason.

        Raises:
            ConfigError: the models are not those that were attacked.
            DataError: the champion knows other classes, and that is not accepted.
            RunError: what was written is not right (`write_rows`), or an image is missing.
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
        if rivalry.champion:
            log.info("the champion is %s", rivalry.champion)
        else:
            log.info("not compared: %s", rivalry.reason or "no model is served yet")
        shards = list_shards(artifact_utils.get_split_uri(adversarial, task.split))
        require_models(shards, models)
        output = artifact_utils.get_single_instance(output_dict["challenged_examples"])
        digest = digest_as_seen(models[ROBUST], adversarial)
        output.set_string_custom_property(MODEL_SHA256, digest)
        write_rivalry(output.uri, rivalry)
        if not rivalry.champion:
            output.split_names = artifact_utils.encode_split_names([])
            return
        known = read_written(attacked).images
        source = ChallengedRows(task, models, rivalry.champion, known)
        written = write_rows(self._make_beam_pipeline(), source, shards, output, task.split)
        if written.images != known:
            raise RunError(
                f"expected the champion to face all {known} images, it faced {written.images}"
            )


def rival(candidate: Artifact, champion: str, accepted: bool = False) -> Rivalry:
    """Whether the candidate can be compared with the champion.

    champion: folder of the version that is served, or ''. accepted: whether it may know other
    classes, and is then not compared.

    Raises:
        DataError: it knows other classes, and that is not accepted.
    """
    if not champion:
        return Rivalry()
    if read_card(champion).model == address_of(candidate.mlmd_artifact):
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


def require_models(shards: list[str], models: Iterable[str]) -> None:
    """Raises ConfigError unless the models are those that were attacked."""
    for row in read_rows(shards, 1):
        if row.predictions.keys() != {*models}:
            raise ConfigError(
                f"ChampionChallenge takes the models that were attacked, "
                f"{', '.join(sorted(row.predictions))}; it got {', '.join(sorted(models))}"
            )
        return


class ChallengedRows:
    """The rows of the attacks on the champion, with its predictions on all rows of
    AdversarialExampleGen: see `components.records.writer.RowSource`.

    images: how many there are; 0 where nobody knows.
    """

    writes_clean = False

    def __init__(
        self, task: AttackTask, models: dict[str, str], champion: str, images: int = 0
    ) -> None:
        self.threat = task.threat
        self.origins: tuple[Origin, ...] = origins_of(CHAMPION)
        self._task, self._models = task, models | {CHAMPION: champion}
        self._images = images
        self._shared = Shared()

    def setup(self) -> None:
        self._loaded = self._shared.acquire(self._load)

    def _load(self) -> "Loaded":
        return Loaded(self._task, self._models)

    def rows(self, shard: str) -> Iterator[Rows]:
        """First the champion sees all rows, then the clean ones are read again and attacked."""
        champion_on = self._answers(shard)
        for rows in self._read(shard):
            clean = rows[rows.attack == CLEAN]
            if len(clean):
                yield from self._against_champion(clean, champion_on)

    def _read(self, shard: str) -> Iterator[Rows]:
        shape = self._loaded.image_shape
        return read_rows([shard], batch_of(shape), shape)

    def _answers(self, shard: str) -> dict[bytes, str]:
        """What the champion predicts on all rows of an image, by its id: see `Rows`."""
        answers: defaultdict[bytes, list[str]] = defaultdict(list)
        for rows in self._read(shard):
            predicted = self._loaded.attackers[CHAMPION].predict(rows.image)
            for identity, attack_name, answer in zip(rows.id, rows.attack, predicted, strict=True):
                answers[identity].append(f"{attack_name}:{answer}")
        return {identity: ",".join(parts) for identity, parts in answers.items()}

    def _against_champion(self, clean: Rows, champion_on: dict[bytes, str]) -> Iterator[Rows]:
        assert clean.image is not None
        judge, ids = self._loaded.champion, clean.id.tolist()
        _, images = attack(CHAMPION, judge, clean.image, clean.label, ids, self._task.seed)
        met = np.array([champion_on[identity] for identity in ids], object)
        yield from attacked_rows(replace(clean, champion_on=met), images, self._loaded.attackers)
        counts = Fields(advance=len(clean), total=self._images)
        log.info("attacking the champion", extra=counts)


class Loaded:
    """What a worker process loads once."""

    def __init__(self, task: AttackTask, models: dict[str, str]) -> None:
        networks = load_networks(models)
        model = networks[CHAMPION]
        self.image_shape = model.image_shape
        self.attackers = {name: Attacker(n, task.threat) for name, n in networks.items()}
        self.champion = Judge(model, task.threat, task.attack.stages, self.image_shape)
