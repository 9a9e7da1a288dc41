"""What a node that attacks makes of clean rows: the images of every attack on a model, and their
rows."""

from collections.abc import Iterator, Mapping, Sequence

from components.records.names import FGSM, STRONGEST, Origin
from components.records.record import Images, Rows
from foundation.seeds import image_seeds
from robustness.attacks.attacker import Attacker
from robustness.config import Fgsm
from robustness.evaluation import Judge, Verdict
from robustness.types import FloatArray, IntArray


def origins_of(model: str) -> tuple[Origin, Origin]:
    """Where the images come from that are made against a model."""
    return Origin(FGSM, model), Origin(STRONGEST, model)


def attack(
    model: str, judge: Judge, x: FloatArray, y: IntArray, ids: Sequence[bytes], seed: int
) -> tuple[Verdict, dict[Origin, Images]]:
    """What the suite finds out about a model, and the images that are made against it, by
    `origins_of(model)`: FGSM's of every image, and the strongest of the suite.

    The other parameters are those of `Judge.judge`.
    """
    verdict = judge.judge(x, y, ids, seed)
    fgsm = judge.attacker.run(Fgsm(), x, y, image_seeds(ids, seed))
    return verdict, dict(zip(origins_of(model), (fgsm, verdict.x_adv), strict=True))


def attacked_rows(
    clean: Rows, images: Mapping[Origin, Images], attackers: Mapping[str, Attacker]
) -> Iterator[Rows]:
    """The rows of attacked images, with what every model predicts for them. attackers: by model,
    all in the same ball."""
    threat = next(iter(attackers.values())).threat
    for origin, shown in images.items():
        predictions = {model: attacker.predict(shown) for model, attacker in attackers.items()}
        yield clean.attacked(origin, shown, threat, predictions)
