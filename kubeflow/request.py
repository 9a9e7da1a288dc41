"""What is asked of the compiler; read without TFX."""

from dataclasses import dataclass, field

import pydantic
from gauntlet_kubeflow.resources import Profile, Resources
from gauntlet_kubeflow.target import Target

from foundation.errors import ConfigError
from pipeline.definition.config import RunConfig


@dataclass(frozen=True, kw_only=True)
class Volume:
    """A volume of the cluster that all containers mount.

    claim: name of a PersistentVolumeClaim. path: where the containers see it.
    """

    claim: str
    path: str


@dataclass(frozen=True, kw_only=True)
class Compilation:
    """A pipeline to compile.

    config: what to compute.
    image: container image with this project, for all nodes.
    gpu_image: another one for the nodes that compute on an accelerator; '' for the same.
    pipeline_root: folder of the artifacts, in a store of the platform.
    store: folder of what outlives a run, where TensorFlow can write: pushed versions, accepted
        statistics, checkpoints; '' for one in `pipeline_root`, or in the volume.
    name: name of the pipeline. Pipelines of other names in one place have other champions.
    data_uri: folder of prepared data in a store of the platform; '' where the data set is fetched
        by the container that reads it.
    data_fingerprint: what the data must be; '' for anything, which no cache then knows again.
    volume: for Kubeflow.
    fail_on_refusal: whether a run whose model is refused fails.
    profile: machines of the nodes.
    mandate: who answers for another purpose or a weaker policy, as JSON.
    project, region, service_account: of Google Cloud, for training jobs; '' for Vertex AI's own
        account.
    """

    config: RunConfig
    target: Target
    image: str
    pipeline_root: str
    store: str = ""
    name: str = "gauntlet"
    gpu_image: str = ""
    data_uri: str = ""
    data_fingerprint: str = ""
    volume: Volume | None = None
    fail_on_refusal: bool = True
    mandate: str = ""
    profile: Profile = field(default_factory=Profile)
    project: str = ""
    region: str = ""
    service_account: str = ""

    @property
    def training_jobs(self) -> dict[str, Resources]:
        """The machines of the models that are trained in a job, by the task of their Trainer."""
        trainers = ("Trainer-undefended", "Trainer-robust")
        own = {task: self.profile.of(task) for task in trainers}
        return {task: machine for task, machine in own.items() if machine.machine_type}

    def to_json(self) -> str:
        """The request in one line, stable."""
        return pydantic.TypeAdapter(Compilation).dump_json(self).decode()

    @classmethod
    def from_json(cls, text: str) -> "Compilation":
        """Inverse of `to_json`; raises ConfigError where it is none, such as of another version."""
        try:
            return pydantic.TypeAdapter(cls).validate_json(text)
        except pydantic.ValidationError as error:
            (first, *_) = error.errors(include_url=False)
            where = ".".join(map(str, first["loc"]))
            raise ConfigError(
                f"what was compiled cannot be read by this version: {where}: {first['msg']}"
            ) from error
