"""Attacks, certified bounds and the evaluation that joins them, for any model in TensorFlow.

The pipeline trains with it, attacks with it and refuses with it; it stands below all of that and by
itself. It takes and gives arrays: images float32 [n, h, w, c] in [0, 1], labels int64 [n], and a
model, which is a function from images to logits. It must not know of files, data sets, runs, TFX,
Beam or Keras.

Where to begin: `config` has threat models and attacks as plain data, `evaluation` the judge,
`attacks` and `bounds` the algorithms, `checks` the signs that a number is fake.

A tiny model tells bright images from dark ones. How far can each be changed before it errs?

>>> import numpy as np
>>> import tensorflow as tf
>>> from robustness import Attacker, BoundName, Certifier, Judge, Pgd, SuiteName, ThreatModel
>>> from robustness import image_seeds, proven, suite, summarise
>>> def model(x, training=False):
...     pixels = tf.reshape(x, [-1, 4])
...     return pixels @ tf.constant([[-1.0, 1.0]] * 4) + tf.constant([2.0, -2.0])
>>> x = np.ones((4, 2, 2, 1), np.float32) * np.float32([0.2, 0.45, 0.7, 0.9]).reshape(4, 1, 1, 1)
>>> y = np.array([0, 0, 1, 1])
>>> ids = [b"black", b"grey", b"light", b"white"]
>>> threat = ThreatModel(epsilon=0.1)

An attack looks for a misclassified image in the ball:

>>> attacker = Attacker(model, threat)
>>> x_adv = attacker.run(Pgd(steps=10), x, y, image_seeds(ids, seed=0))
>>> (attacker.predict(x_adv) == y).tolist()
[True, False, True, True]

A bound proves that there is none:

>>> certifier = Certifier(model, (2, 2, 1), threat.epsilon)
>>> proven(certifier.tighten(BoundName.IBP, x, y)).tolist()
[True, False, True, True]

The judge runs a suite of both, each stage on what is still open; the truth lies between what is
certified and the worst case:

>>> judge = Judge(model, threat, suite(SuiteName.FAST), (2, 2, 1))
>>> verdict = judge.judge(x, y, ids, seed=0)
>>> verdict.broken_by.tolist(), verdict.certified_by.tolist()
(['', 'fgsm', '', ''], ['ibp', '', 'ibp', 'ibp'])
>>> summary = summarise(verdict, judge)
>>> summary.clean, summary.worst_case, summary.certified
(1.0, 0.75, 0.75)

What needs TensorFlow is imported when its name is first used, so that `robustness.config` stays
light. The house itself imports from the modules: a cache key (`foundation.code`) of what uses this
door has all of them.
"""

from importlib import import_module
from typing import TYPE_CHECKING

from robustness.config import (
    ApgdCe,
    ApgdT,
    Attack,
    AttackName,
    BoundName,
    Check,
    CheckName,
    FabT,
    Fgsm,
    Norm,
    Pgd,
    PgdDlr,
    PgdMargin,
    Square,
    ThreatModel,
)
from robustness.suites import Stage, SuiteName, Transfer, suite

if TYPE_CHECKING:
    from foundation.seeds import image_seeds
    from robustness.attacks.attacker import Attacker
    from robustness.ball import inside_ball
    from robustness.bounds.certifier import Certifier, proven
    from robustness.bounds.trace import NoBoundError
    from robustness.checks import Subject, run_checks
    from robustness.corruptions import Corruption, corrupt
    from robustness.evaluation import Judge, Summary, Verdict, summarise
    from robustness.logits import as_logits
else:
    _HOMES = {
        "foundation.seeds": ("image_seeds",),
        "robustness.attacks.attacker": ("Attacker",),
        "robustness.ball": ("inside_ball",),
        "robustness.bounds.certifier": ("Certifier", "proven"),
        "robustness.bounds.trace": ("NoBoundError",),
        "robustness.checks": ("Subject", "run_checks"),
        "robustness.corruptions": ("Corruption", "corrupt"),
        "robustness.evaluation": ("Judge", "Summary", "Verdict", "summarise"),
        "robustness.logits": ("as_logits",),
    }

    def __getattr__(name: str) -> object:
        """A name that needs TensorFlow, or NumPy (PEP 562)."""
        for home, names in _HOMES.items():
            if name in names:
                return getattr(import_module(home), name)
        raise AttributeError(f"module 'robustness' has no attribute {name!r}")

    def __dir__() -> list[str]:
        return sorted({*globals(), *__all__})


__all__ = [
    "ApgdCe",
    "ApgdT",
    "Attack",
    "AttackName",
    "Attacker",
    "BoundName",
    "Certifier",
    "Check",
    "CheckName",
    "Corruption",
    "FabT",
    "Fgsm",
    "Judge",
    "NoBoundError",
    "Norm",
    "Pgd",
    "PgdDlr",
    "PgdMargin",
    "Square",
    "Stage",
    "Subject",
    "SuiteName",
    "Summary",
    "ThreatModel",
    "Transfer",
    "Verdict",
    "as_logits",
    "corrupt",
    "image_seeds",
    "inside_ball",
    "proven",
    "run_checks",
    "suite",
    "summarise",
]
