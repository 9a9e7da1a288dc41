"""Attacks of Foolbox and of the Adversarial Robustness Toolbox (ART), called with our effort.

What tests/robustness/attacks/test_peers.py and the benchmark compare ours with. Each function sets
up a peer's attack on a Keras model and returns it. Both libraries draw from the global generators
(`seed_peers`), and both treat a batch as one.

Not comparable: ART's Square for L2 writes NaN into images in which a window is empty, as MNIST's
borders are.
"""

import os
from collections.abc import Callable

# Foolbox imports GitPython, which asks for git at once.
os.environ.setdefault("GIT_PYTHON_REFRESH", "quiet")

import numpy as np
import tensorflow as tf
import tf_keras

from robustness.config import ApgdCe, ApgdT, Norm, Pgd, Square, ThreatModel
from robustness.types import Images, Labels

Run = Callable[[Images, Labels], Images]

CLASSES = 10


def seed_peers(seed: int) -> None:
    """Fix what the peers draw."""
    np.random.seed(seed)
    tf.random.set_seed(seed)


def foolbox_pgd(model: tf_keras.Model, threat: ThreatModel, attack: Pgd) -> Run:
    """Foolbox's PGD; a restart runs on all images, broken ones too."""
    import foolbox

    kind = foolbox.attacks.LinfPGD if threat.norm is Norm.LINF else foolbox.attacks.L2PGD
    once = kind(
        abs_stepsize=attack.resolved_step_size(threat), steps=attack.steps, random_start=True
    )
    repeated = once.repeat(attack.restarts) if attack.restarts > 1 else once
    target = foolbox.TensorFlowModel(
        lambda x: model(x, training=False), bounds=(0, 1), device="/CPU:0"
    )

    def run(x: Images, y: Labels) -> Images:
        _, x_adv, _ = repeated(target, tf.constant(x), tf.constant(y), epsilons=threat.epsilon)
        return x_adv.numpy()

    return run


def art_pgd(model: tf_keras.Model, threat: ThreatModel, attack: Pgd) -> Run:
    """ART's PGD for TensorFlow; a restart runs on all images, broken ones too."""
    from art.attacks.evasion import ProjectedGradientDescentTensorFlowV2

    return ProjectedGradientDescentTensorFlowV2(
        art_classifier(model), norm=art_norm(threat), eps=threat.epsilon,
        eps_step=attack.resolved_step_size(threat), max_iter=attack.steps,
        num_random_init=attack.restarts, batch_size=500, verbose=False,
    ).generate  # fmt: skip


def art_apgd(
    model: tf_keras.Model,
    threat: ThreatModel,
    attack: ApgdCe | ApgdT,
    loss: str = "cross_entropy",
) -> Run:
    """ART's Auto-PGD with the published first step. Its other loss is `difference_logits_ratio`,
    not targeted."""
    from art.attacks.evasion import AutoProjectedGradientDescent

    return AutoProjectedGradientDescent(
        art_classifier(model), norm=art_norm(threat), eps=threat.epsilon,
        eps_step=2 * threat.epsilon, max_iter=attack.steps, nb_random_init=attack.restarts,
        batch_size=500, loss_type=loss, verbose=False,
    ).generate  # fmt: skip


def art_square(model: tf_keras.Model, threat: ThreatModel, attack: Square) -> Run:
    """ART's Square with the published first window."""
    from art.attacks.evasion import SquareAttack

    return SquareAttack(
        art_classifier(model), norm=art_norm(threat), eps=threat.epsilon, max_iter=attack.queries,
        p_init=0.8, nb_restarts=attack.restarts, batch_size=500, verbose=False,
    ).generate  # fmt: skip


def art_norm(threat: ThreatModel) -> float:
    """How ART writes the norm."""
    return np.inf if threat.norm is Norm.LINF else 2


def art_classifier(model: tf_keras.Model) -> object:
    """ART's view of the model. Its default preprocessing, which changes nothing but costs time, is
    left out."""
    from art.estimators.classification import TensorFlowV2Classifier

    return TensorFlowV2Classifier(
        model=model, nb_classes=CLASSES, input_shape=model.input_shape[1:], clip_values=(0.0, 1.0),
        preprocessing=None,
        loss_object=tf_keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    )  # fmt: skip
