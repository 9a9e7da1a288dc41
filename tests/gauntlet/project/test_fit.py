"""What fits a folder: sizes that the network can take, and a training of a reasonable length."""

from pathlib import Path

import pytest
from scipy.stats import binomtest

from components.datasets.image_folder import ImageFolder
from gauntlet.project.fit import ASKED, fit, resize_of, too_few
from pipeline.definition.config import DataConfig, RunConfig
from trainer.config import Padding, TrainerConfig


def folder(
    sizes: dict[tuple[int, int], int], train: int = 100, test: int = 20, channels: int = 3
) -> ImageFolder:
    """Two classes with as many images each."""
    return ImageFolder(
        root=Path("/pets"),
        files={
            split: [f"{split}/{name}/{i}.png" for name in ("cat", "dog") for i in range(count)]
            for split, count in (("train", train), ("test", test))
        },
        classes=["cat", "dog"],
        image_shape=(1, 1, channels),
        resize=(1, 1),
        formats={"PNG": 2 * (train + test)},
        sizes=sizes,
        unused={},
    )


@pytest.mark.parametrize("size", [(1, 1), (6, 5), (28, 28), (32, 32), (33, 64), (224, 224)])
def test_the_network_takes_the_images(size: tuple[int, int]) -> None:
    found = fit(folder({size: 240}))
    assert found.images.resize is None
    assert found.images.image_shape == (*size, 3)
    trainer = TrainerConfig(
        filters=found.filters, stride=found.stride, padding=Padding.SAME, pool_size=1
    )
    RunConfig(preset="", trainer=trainer, data=DataConfig(image_shape=found.images.image_shape))
    assert 1 <= min(trainer.feature_size(*size)) <= max(trainer.feature_size(*size)) <= 8


def test_weights_of_the_first_dense_layer_stay_few() -> None:
    for side in (28, 32, 64, 96, 128, 224):
        found = fit(folder({(side, side): 240}))
        trainer = TrainerConfig(
            filters=found.filters, stride=found.stride, padding=Padding.SAME, pool_size=1
        )
        height, width = trainer.feature_size(side, side)
        assert height * width * found.filters[-1] * 128 < 1_100_000


@pytest.mark.parametrize(
    ("sizes", "expected"),
    [
        ({(32, 32): 9}, None),
        ({(224, 100): 9}, None),
        ({(225, 225): 9}, (224, 224)),
        ({(40, 50): 8, (32, 32): 9}, (32, 32)),
        ({(3000, 4000): 9, (40, 50): 8}, (168, 224)),
        ({(5000, 1): 9}, (224, 1)),
    ],
    ids=str,
)
def test_images_are_brought_to_the_commonest_size_that_is_not_too_large(
    sizes: dict[tuple[int, int], int], expected: tuple[int, int] | None
) -> None:
    assert resize_of(sizes) == expected


@pytest.mark.parametrize(
    ("train", "batch_size", "epochs"), [(1, 1, 60), (12, 11, 60), (1000, 32, 35), (30_000, 128, 5)]
)
def test_the_training_is_of_a_reasonable_length(train: int, batch_size: int, epochs: int) -> None:
    """Of two classes with `train` images each, one in twelve is held out."""
    found = fit(folder({(32, 32): 9}, train=train))
    assert (found.batch_size, found.epochs) == (batch_size, epochs)
    assert found.batch_size <= found.training_images
    assert found.training_images + found.held_out == 2 * train


def test_too_few_test_images_are_told_with_the_number_that_suffices() -> None:
    """29 of 29 have a lower end of 88.06 %, and 90 % takes 36 (Clopper and Pearson, by SciPy)."""
    assert not too_few(folder({(8, 8): 9}, test=100))
    (clean, *others) = too_few(folder({(8, 8): 9}, test=15))
    assert ASKED.clean == 0.9
    assert clean.startswith("clean: ")
    assert "takes at least 36 images" in clean
    assert "are too few to tell" in " ".join(others)


def test_a_first_look_is_a_tenth_of_the_training_where_that_suffices() -> None:
    assert fit(folder({(8, 8): 9}, train=50_000)).few == 91_667 // 10
    assert fit(folder({(8, 8): 9}, train=150)).few == 64, "two batches"
    assert fit(folder({(8, 8): 9}, train=1)).few == 1, "all that are not held out"


@pytest.mark.parametrize(("test", "least"), [(500, 0.5), (3, 0.5), (2, 0.39), (1, 0.15)])
def test_the_least_bound_can_be_shown_on_the_test_images(test: int, least: float) -> None:
    """`test` images of each of two classes; a model that is right on all of them passes."""
    assert fit(folder({(8, 8): 9}, test=test)).least == least
    assert binomtest(2 * test, 2 * test).proportion_ci(method="exact").low >= least
