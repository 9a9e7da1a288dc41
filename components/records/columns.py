"""Names in the records of AdversarialExampleGen: its columns, models and attacks. Read without
TensorFlow."""

UNDEFENDED, ROBUST = "undefended", "robust"
MODELS = (UNDEFENDED, ROBUST)
"""Names of the models; each is attacked, and each predicts every image."""

CHAMPION = "champion"
"""The model in production, in the columns that ChampionChallenge adds; its prediction is -1 where
there is none."""

CLEAN, FGSM, STRONGEST = "clean", "fgsm", "strongest"
PREDICTION = "prediction_"
"""Prefix of the columns that hold each model's predicted class."""

BROKEN_BY, CERTIFIED_BY = "broken_by_", "certified_by_"
"""Prefixes of the columns, the same on all rows of an image, that hold the attack that changed a
model's prediction (`clean`: it was wrong without one) and the bound that proves it right; each may
be empty."""

NO_BOUND = "none"
"""In `certified_by_` of a model to which no bound applies."""

JUDGED_BY = "judged_by_"
"""Prefix of the columns, the same on all rows, that name the bounds and attacks that a model faced,
with commas."""

PASSED_CHECKS, FAILED_CHECKS = "passed_checks", "failed_checks"
"""Columns, the same on all rows, that name the honesty checks of the robust model, with commas."""

CHECKS = "checks.json"
"""File beside the rows that holds these checks, a list of `robustness.checks.Check`."""


def attack_column(attack: str, model: str) -> str:
    """Value of the `attack` column for an attack made with a model's gradients."""
    return f"{attack}@{model}"
