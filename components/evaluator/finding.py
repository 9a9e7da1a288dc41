"""What a gate finds, and the statistics behind it.

Shares have the exact binomial interval (Clopper & Pearson 1934, 95 %, two-sided); two models are
compared in pairs, image by image, by the exact form of McNemar's test (1947).
"""

from collections.abc import Callable
from dataclasses import dataclass, field

from scipy.special import betainc, betaincinv

CONFIDENCE = 0.95


@dataclass(frozen=True, kw_only=True)
class Finding:
    """What a gate found.

    value: as counted. compared: what is compared with the bound. sentence: the finding, and what
    had to be.
    interval: exact confidence interval of the value; None where there is none.
    images_against: how many images speak against the candidate; None where that is no question of
    images. ids: some of them.
    if_corrected: what would be compared if so many of them did not.
    not_compared: why there was nothing to compare with, where a gate holds for that; '' otherwise.
    applies: whether the model has what the gate is about; where it has not, the gate holds.
    """

    value: float
    compared: float
    sentence: str
    interval: tuple[float, float] | None = None
    images_against: int | None = None
    ids: list[str] = field(default_factory=list)
    if_corrected: Callable[[int], float] | None = None
    not_compared: str = ""
    applies: bool = True


NOT_MEASURED = Finding(value=float("nan"), compared=float("nan"), sentence="Nothing was measured.")


def counted(value: float, sentence: str) -> Finding:
    """The finding on what is no question of images."""
    return Finding(value=value, compared=value, sentence=sentence)


def confidence_interval(k: int, n: int) -> tuple[float, float]:
    """Exact 95 % confidence interval of a share of k in n, n > 0: quantiles of beta
    distributions."""
    tail = (1.0 - CONFIDENCE) / 2.0
    low = float(betaincinv(k, n - k + 1, tail)) if k > 0 else 0.0
    high = float(betaincinv(k + 1, n - k, 1.0 - tail)) if k < n else 1.0
    return low, high


def sign_test(losses: int, wins: int) -> float:
    """p-value of the one-sided sign test on the images on which only one of the two is right: the
    probability of at least so many losses where both are as likely."""
    return float(betainc(losses, wins + 1, 0.5)) if losses > 0 else 1.0


def paired_test(losses: int, wins: int) -> float:
    """p-value of the exact two-sided test on the images on which only one of the two is right
    (McNemar): the probability of numbers at least as unequal where both are as likely."""
    return min(1.0, 2 * sign_test(max(losses, wins), min(losses, wins)))
