"""What makes one doubt that a model and its data belong together."""

from collections.abc import Callable

import numpy as np
import pytest

from foundation.errors import DataError
from gauntlet.evaluation.subject import chance_of, doubts, matched
from trainer.models.pixels import Pixels

CLASSES = 4


def pictures(n: int = 200) -> tuple[np.ndarray, np.ndarray]:
    """Images whose brightest quarter tells the class, in colours that tell channels apart."""
    draw = np.random.default_rng(0)
    y = draw.integers(0, CLASSES, n)
    x = draw.uniform(0.0, 0.3, (n, 8, 8, 3)).astype(np.float32)
    for image, label in zip(x, y, strict=True):
        row, column = divmod(int(label), 2)
        image[4 * row : 4 * row + 4, 4 * column : 4 * column + 4] += np.float32([0.7, 0.35, 0.0])
    return x, y


def quarters(x: np.ndarray) -> np.ndarray:
    """Right on pictures as they are: by brightness of red, in any unit."""
    red = x[..., 0]
    means = [red[:, i : i + 4, j : j + 4].mean(axis=(1, 2)) for i in (0, 4) for j in (0, 4)]
    best = np.argmax(means, axis=0)
    low, high = red.min(axis=(1, 2)), red.max(axis=(1, 2))
    return np.where((low >= 0.0) & (low < 0.2) & (high > 0.5) & (high <= 1.0), best, 0)


def sentences(
    predict: Callable[[np.ndarray], np.ndarray], pixels: Pixels = Pixels.UNIT, n: int = 200
) -> list[str]:
    x, y = pictures(n)
    return list(doubts(predict, x, y, chance_of(predict, x, y), pixels))


def test_a_model_that_belongs_to_the_data_is_not_doubted() -> None:
    x, y = pictures()
    clean = chance_of(quarters, x, y)
    assert (clean.images, clean.right) == (200, 1.0)
    assert clean.chance == np.bincount(y).max() / 200
    assert sentences(quarters) == []


@pytest.mark.parametrize(
    ("trained_on", "word"),
    [
        (lambda x: x / 255, "--pixels 0:255"),
        (lambda x: (x + 1) / 2, "--pixels -1:1"),
        (lambda x: 1 - x, "light and dark exchanged"),
        (lambda x: x[..., ::-1], "BGR"),
        (lambda x: np.swapaxes(x, 1, 2), "rows and columns exchanged"),
    ],
)
def test_another_reading_of_the_pixels_is_found(
    trained_on: Callable[[np.ndarray], np.ndarray], word: str
) -> None:
    assert any(word in sentence for sentence in sentences(lambda x: quarters(trained_on(x))))


@pytest.mark.parametrize("trained_on", Pixels)
@pytest.mark.parametrize("asked_with", Pixels)
def test_the_pixels_that_are_named_are_those_of_the_training(
    trained_on: Pixels, asked_with: Pixels
) -> None:
    """Whatever the model is asked with."""

    def predict(x: np.ndarray) -> np.ndarray:
        black, white = trained_on.ends
        return quarters((of(asked_with, x) - black) / (white - black))

    def of(pixels: Pixels, x: np.ndarray) -> np.ndarray:
        return x * (pixels.ends[1] - pixels.ends[0]) + pixels.ends[0]

    told = sentences(predict, asked_with)
    if trained_on is asked_with:
        assert told == []
    else:
        assert f"(--pixels {trained_on}) on 100.0%" in told[0]


def test_pixels_that_are_named_in_vain_are_doubted() -> None:
    """By a model that sees the same in any unit; where none are named, there is nothing to say."""

    def brightest(x: np.ndarray) -> np.ndarray:
        return np.argmax(
            [x[:, i : i + 4, j : j + 4, 0].mean(axis=(1, 2)) for i in (0, 4) for j in (0, 4)],
            axis=0,
        )

    assert sentences(brightest) == []
    for pixels in (Pixels.BYTES, Pixels.SIGNED):
        (sentence,) = sentences(brightest, pixels)
        assert "they do not tell which it was trained with" in sentence
        assert "from 0 to 1 (--pixels 0:1) on 100.0%" in sentence


def test_a_few_images_may_speak_for_the_pixels_that_are_named() -> None:
    """Too few for a difference to be significant."""
    assert sentences(lambda x: quarters((x + 1) / 2), Pixels.BYTES, 8) != []
    assert sentences(quarters, Pixels.BYTES, 8) == []


def test_an_order_that_explains_more_is_all_that_is_said() -> None:
    """Of classes turned round, exchanged light and dark would make a few right."""

    def turned(x: np.ndarray) -> np.ndarray:
        exchanged = x.mean(axis=(1, 2, 3)) > 0.5
        label = quarters(np.where(exchanged[:, None, None, None], 1 - x, x))
        return np.where(exchanged & (np.arange(len(x)) % 3 == 0), label, CLASSES - 1 - label)

    (sentence,) = sentences(turned)
    assert "another order" in sentence


def test_another_order_of_the_classes_is_found() -> None:
    order = np.array([1, 2, 3, 0])
    *_, sentence = sentences(lambda x: order[quarters(x)])
    assert "another order" in sentence
    assert "--classes" in sentence


def test_a_model_no_better_than_guessing_is_said_aloud() -> None:
    (sentence,) = sentences(lambda x: np.zeros(len(x), int))
    assert "always saying the most frequent class" in sentence
    assert "--pixels" in sentence


def test_logits_that_are_no_numbers_are_said_first() -> None:
    (sentence,) = sentences(lambda x: np.full(len(x), -1))
    assert "not a number for 200 of the first 200 clean images" in sentence


def test_outputs_that_fall_are_named_first() -> None:
    x, y = pictures()

    def wrong(x: np.ndarray) -> np.ndarray:
        return (quarters(x) + 1) % CLASSES

    clean = chance_of(wrong, x, y)
    (sentence,) = doubts(wrong, x, y, clean, Pixels.UNIT, least=quarters)
    assert "its smallest output on 100.0%" in sentence


def test_nothing_is_told_from_answers_that_are_random() -> None:
    draw = np.random.default_rng(0)
    assert sentences(lambda x: draw.integers(0, CLASSES, len(x))) == []


def test_labels_are_matched_with_outputs_by_name() -> None:
    assert matched(("b", "c", "a"), ("a", "b")).tolist() == [2, 0]
    with pytest.raises(DataError, match="classes that the model does not know: cow; the model"):
        matched(("cat", "dog"), ("cow", "dog"))
