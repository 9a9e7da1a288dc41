"""Names in the records of attacked images: models, attacks, and where an image comes from. Read
without TensorFlow."""

from dataclasses import dataclass

UNDEFENDED, ROBUST = "undefended", "robust"
MODELS = (UNDEFENDED, ROBUST)
"""Models that our own pipeline attacks; each predicts every image."""

CHAMPION = "champion"
"""The model that is served, which ChampionChallenge adds; its prediction is -1 where there is
none."""

ATTACK, LABEL = "attack", "label"
"""Columns of the records that TFMA slices by."""

CLEAN, FGSM, STRONGEST = "clean", "fgsm", "strongest"

NO_BOUND = "none"
"""In `certified_by` of a model to which no bound applies."""


@dataclass(frozen=True, order=True)
class Origin:
    """Where the image of a row comes from: an attack, and the model whose gradients it used (empty
    for the clean image). Seen from that model the attack is white-box, seen from any other it is a
    transfer."""

    attack: str
    source: str = ""

    def __str__(self) -> str:
        """As the column `attack` holds it: `ATTACK@MODEL`, or `clean`."""
        return f"{self.attack}@{self.source}" if self.source else self.attack

    @classmethod
    def of(cls, text: str) -> "Origin":
        """Inverse of `str`."""
        attack, _, source = text.partition("@")
        return cls(attack, source)
