"""The grid of attacked images names the classes."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.axes import Axes
from small_rows import small_rows

from pipeline.report.picture import draw_grid

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
    assert {"u 2 (a very long name o…", "r 1 (T-shirt/top)"} <= set(texts)
    assert (tmp_path / "grid.png").stat().st_size > 1000
