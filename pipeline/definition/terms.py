"""The terms of a run: what its configuration says of the purpose of the model, and of what that
must reach. Read without TensorFlow and TFX."""

import dataclasses
from pathlib import Path

from components.class_names import names_in
from components.datasets.image_folder import NAME, is_folder
from components.policy import Policy, Purpose, Terms, efforts_of
from components.schema import schema_of
from foundation.errors import ConfigError
from pipeline.definition.config import DataConfig, RunConfig
from robustness.config import ThreatModel


def terms_of(config: RunConfig) -> Terms:
    """The purpose and the policy in a configuration."""
    data = config.data
    schema = schema_of(data.dataset, data.image_shape, data.classes, data.class_names)
    purpose = Purpose(
        dataset=identity(data),
        class_names=names_in(schema),
        image_shape=data.image_shape,
        norm=config.threat.norm,
        epsilon=config.threat.epsilon,
    )
    policy = Policy(
        gates=config.gates,
        attack=config.attack,
        test=data.test,
        stages=efforts_of(config.attack.stages),
        span=data.span,
        server=str(config.serving.platform),
    )
    return Terms(purpose=purpose, policy=policy)


def identity(data: DataConfig) -> str:
    """By what a data set is known again, wherever it lies: tfds's name without a version; of the
    user's own images the name of the folder, of a span that of the folder of spans. Prepared images
    of a platform have no name of their own."""
    if is_folder(data.dataset):
        folder = Path(data.dataset).expanduser().absolute()
        return folder.parent.name if data.span else folder.name
    if data.dataset.partition("/")[0] == NAME:
        return NAME
    return data.dataset.partition(":")[0]


def under(config: RunConfig, terms: Terms, file: str) -> RunConfig:
    """The configuration with threat, attacks, checks and gates of reviewed terms.

    file: where they were read.

    Raises:
        ConfigError: the terms are for another purpose, or ask for what no setting says, such as
            more steps than a suite has.
    """
    threat = ThreatModel(norm=terms.purpose.norm, epsilon=terms.purpose.epsilon)
    result = dataclasses.replace(
        config, threat=threat, gates=terms.policy.gates, attack=terms.policy.attack
    )
    own = terms_of(result)
    if differences := own.purpose.differences(terms.purpose):
        raise ConfigError(
            f"{file} is for another purpose: here {'; '.join(differences)}. Take its data set by "
            "--preset or --set data.dataset, or write a file for this one (`gauntlet gates --toml`)"
        )
    if weaker := own.policy.weaker(terms.policy):
        raise ConfigError(f"{file} asks for more than this run can: {'; '.join(weaker)}")
    return result
