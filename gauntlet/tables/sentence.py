"""What was found of a model, in one sentence."""

from robustness.config import Norm, ThreatModel, shown_epsilon

NO_BOUND = "no bound applies"

CHANGES = {
    Norm.LINF: "any change of each pixel by at most {epsilon} (pixels in [0, 1], L-infinity)",
    Norm.L2: "any change of length {epsilon} at most (pixels in [0, 1], L2)",
}


def in_words(
    images: int,
    clean: float | None,
    worst_case: float | None,
    certified: float | None,
    threat: ThreatModel,
    not_certified: str | None = None,
) -> str:
    """What share is proven safe against which change, what is wrong without an attack, what attacks
    break, and what is open.

    Args:
        images: how many were judged.
        clean, worst_case: shares of them; None where no image was.
        certified: the same; None also where no bound applies.
        not_certified: why, where that is known.
    """
    if clean is None or worst_case is None:
        return "No image was judged: nothing is known of the model."
    change = CHANGES[threat.norm].format(epsilon=shown_epsilon(threat.epsilon))
    wrong = f"{1 - clean:.2%} are wrong without an attack"
    broken = f"attacks break another {clean - worst_case:.2%}"
    if certified is None:
        return (
            f"Of {images:,} images none is proven safe ({not_certified or NO_BOUND}): {wrong}, "
            f"{broken} by {change}, and the other {worst_case:.2%} held against the attacks that "
            "were tried."
        )
    return (
        f"Of {images:,} images {certified:.2%} are proven safe against {change}; {wrong}, "
        f"{broken}, and {worst_case - certified:.2%} are open: neither broken nor proven."
    )
