"""A split in memory, and the batches of a training."""

from types import SimpleNamespace

import numpy as np
import tensorflow as tf
import tensorflow_transform as tft
from small_world import EXAMPLES, small_images

from trainer.dataset import Split, load_split, training_batches


def test_a_split_is_read_whole_and_in_the_order_of_its_ids(small_world: SimpleNamespace) -> None:
    split = load_split(
        [f"{small_world.examples}/Split-test/*"], tft.TFTransformOutput(small_world.transform)
    )
    images, labels = small_images(EXAMPLES, seed=2)
    order = np.argsort([b"small-2-%d" % i for i in range(EXAMPLES)])
    np.testing.assert_array_equal(split.label, labels[order])
    np.testing.assert_allclose(split.image, images[order] / np.float32(255), rtol=1e-6)


def epochs_of_labels(
    seed: int, first_step: int = 0, context: tf.distribute.InputContext | None = None
) -> list[int]:
    """Labels of two epochs of 100 rows in batches of 16, from one input pipeline."""
    pixels = np.arange(100, dtype=np.float32)
    split = Split(pixels.reshape(100, 1, 1, 1), np.arange(100))
    make = training_batches(split, 16, seed, first_step, positions=True)
    batches = make(context or tf.distribute.InputContext()).take(12 - first_step)
    return np.concatenate([batch["label"] for batch in batches.as_numpy_iterator()]).tolist()


def test_batches_are_shuffled_by_seed_and_epoch() -> None:
    both = epochs_of_labels(1)
    first, second = both[:96], both[96:]
    assert len(set(first)) == len(set(second)) == 96
    assert first != second
    assert first != sorted(first)
    assert epochs_of_labels(1) == both
    assert epochs_of_labels(2) != both


def test_a_training_that_goes_on_sees_the_batches_it_would_have_seen() -> None:
    assert epochs_of_labels(1, first_step=6) == epochs_of_labels(1)[96:]


def test_workers_share_out_each_global_batch() -> None:
    """Two workers with one replica each, against one worker: the halves of every batch."""
    whole = np.reshape(epochs_of_labels(1), (12, 2, 8))
    for worker in range(2):
        context = tf.distribute.InputContext(
            num_input_pipelines=2, input_pipeline_id=worker, num_replicas_in_sync=2
        )
        half = epochs_of_labels(1, context=context)
        assert half == whole[:, worker].ravel().tolist()


def test_our_data_sets_run_without_the_tuning_thread() -> None:
    """With it, training stands still at the end of epochs, by chance and for up to a minute."""
    split = Split(np.zeros((4, 1, 1, 1), np.float32), np.zeros(4, np.int64))
    batches = training_batches(split, 2, 0, 0, positions=False)(tf.distribute.InputContext())
    assert batches.options().autotune.enabled is False
