"""When a training has diverged."""

from contextlib import nullcontext
from pathlib import Path
from unittest.mock import Mock

import numpy as np
import pytest
from small_training import task_of, training_of

from foundation.errors import RunError
from trainer.checkpoints import Checkpoints, Progress
from trainer.recipes import Recipe
from trainer.validation import Validator
from trainer.watch import Watch

pytestmark = pytest.mark.usefixtures("measured")


@pytest.mark.parametrize("recipe", ["undefended", "tutorial", "pgd"])
def test_divergence_ends_the_training(tmp_path: Path, recipe: str) -> None:
    with pytest.raises(
        RunError, match=r"training diverged: the loss of epoch 1 is .*lower trainer.learning_rate"
    ):
        training_of(task_of(recipe, learning_rate=1e6), tmp_path / "c").run(str(tmp_path / "logs"))


@pytest.mark.parametrize(
    ("loss", "diverged"), [(49.0, False), (51.0, True), (np.inf, True), (np.nan, True)]
)
def test_a_later_epoch_is_compared_with_the_first(loss: float, diverged: bool) -> None:
    progress = Progress(epoch=1, history=({"loss": 5.0},))
    parts = (Mock(spec=kind) for kind in (Recipe, Validator, Checkpoints))
    watch = Watch(*parts, progress, classes=10, epochs=2, may_collapse=False)
    with pytest.raises(RunError, match="epoch 2 is") if diverged else nullcontext():
        watch._check_loss(1, loss)


def test_a_loss_that_is_no_number_ends_the_training(tmp_path: Path) -> None:
    built = training_of(task_of(), tmp_path / "c")
    built._network.layers[-1].bias.assign([0.0, np.nan, 0.0])
    with pytest.raises(RunError, match="training diverged: the loss of epoch 1 is nan"):
        built.run(str(tmp_path / "logs"))
    assert not (tmp_path / "c").exists()
