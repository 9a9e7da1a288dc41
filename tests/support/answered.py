"""Rows of attacked images without pixels, with the answers that a test wants."""

from collections.abc import Mapping, Sequence

import numpy as np

from components.records.record import Rows

CLASSES = 10


def answered(
    right: Mapping[str, Sequence[bool]],
    champion: Mapping[str, Sequence[bool]] | None = None,
    certified: Sequence[bool] | None = None,
    label: Sequence[int] | None = None,
    *,
    undefended: Mapping[str, Sequence[bool]] | None = None,
    broken_by: Sequence[str] | None = None,
    faced: str = "ibp,fgsm",
    passed: str = "proofs_hold",
    failed: str = "",
) -> Rows:
    """One row an image and attack; image i is named by its number, and has the label i % 2 unless
    others are given.

    Args:
        right: whether the candidate is, by attack and image.
        champion: the same of the champion; None where there is none.
        certified: whether a bound proves the candidate right, by image.
        label: true classes, by image.
        undefended: as `right`, of the undefended model; all of them unless given.
        broken_by: attack that changed the candidate's answer, by image.
        faced: bounds and attacks that the candidate faced, with commas.
        passed, failed: honesty checks, with commas.
    """
    parts = []
    for attack, column in right.items():
        n = len(column)
        own = np.array(label if label is not None else [i % 2 for i in range(n)], np.int64)[:n]
        bound = ["ibp" if proven else "" for proven in certified or [False] * n]
        rival = np.full(n, -1) if champion is None else answers(own, champion[attack])
        parts.append(
            Rows(
                id=np.array([b"%03d" % i for i in range(n)], object),
                attack=text(attack, n),
                label=own,
                norm=text("" if attack == "clean" else "linf", n),
                epsilon=np.full(n, 0.1, np.float32),
                seed=np.zeros(n, np.int64),
                predictions={
                    "robust": answers(own, column),
                    "undefended": answers(own, undefended[attack] if undefended else [True] * n),
                    "champion": rival,
                },
                broken_by={
                    "robust": np.array(broken_by or [""] * n, object)[:n],
                    "undefended": text("fgsm", n),
                },
                certified_by={"robust": np.array(bound, object)[:n], "undefended": text("", n)},
                judged_by={"robust": text(faced, n), "undefended": text(faced, n)},
                passed_checks=text(passed, n),
                failed_checks=text(failed, n),
            )
        )
    return Rows.concatenate(parts)


def answers(label: np.ndarray, right: Sequence[bool]) -> np.ndarray:
    """The true class where right, otherwise another."""
    return np.where(np.array(right, bool), label, (label + 1) % CLASSES)


def text(value: str, n: int) -> np.ndarray:
    """A column of equal texts."""
    return np.full(n, value, object)
