"""The pictures of a run: classes with their names, whatever these are."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.axes import Axes
from small_rows import small_rows

from pipeline.report.picture import draw_front, draw_grid, draw_training
from pipeline.report.run_summary import Training, Trial, Tuning

NAMES = ("$x^$", "T-shirt/top", "a very long name of a class, indeed")


def test_every_label_has_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also one that TeX would choke on."""
    texts: list[str] = []
    annotate = Axes.annotate

    def noted(self: Axes, text: str, *arguments: Any, **named: Any) -> Any:
        texts.append(text)
        return annotate(self, text, *arguments, **named)

    monkeypatch.setattr(Axes, "annotate", noted)
    rows = small_rows((b"0", "fgsm", 0.5), (b"1", "fgsm", 0.7))
    predictions = {"undefended": np.array([1, 2]), "robust": np.array([0, 1])}
    draw_grid(
        dataclasses.replace(rows, predictions=predictions), NAMES, "FGSM", tmp_path / "grid.png"
    )
    assert texts.count("true 0 ($x^$)") == 2
    assert {"u 1 (T-shirt/top)", "r 0 ($x^$)"} <= set(texts)
    assert {"u 2 (a very long name…", "r 1 (T-shirt/top)"} <= set(texts)
    assert (tmp_path / "grid.png").stat().st_size > 1000


def test_a_caption_may_have_what_tex_would_choke_on(tmp_path: Path) -> None:
    scores = {"val_clean": 0.9, "val_adversarial": 0.5}
    draw_training(Training(epochs=[scores], best_epoch=1), "/data/$x^$", tmp_path / "training.png")
    trial = Trial(
        trial="0", values={}, score=1.0, clean=0.9, adversarial=0.8, certified=None, chosen=True,
        front=True,
    )  # fmt: skip
    tuning = Tuning(clean_floor=0.5, trials=[trial])
    draw_front(tuning, "/data/$x^$", tmp_path / "front.png")
    for name in ("training", "front"):
        assert (tmp_path / f"{name}.png").stat().st_size > 1000
