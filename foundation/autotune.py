"""One option for every tf.data data set of ours. Workers import this module, so it stays light."""

import tensorflow as tf


def no_autotune() -> tf.data.Options:
    """Options for every data set of ours: tf.data's tuning thread stays off.

    The thread sleeps between its rounds for ever longer periods, and deleting an iterator waits
    until it wakes: training stood still at the end of an epoch for up to as long as the epoch had
    lasted.
    """
    options = tf.data.Options()
    options.autotune.enabled = False
    return options
