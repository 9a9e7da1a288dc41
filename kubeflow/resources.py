"""Machines of the nodes: processors, memory, accelerators, attempts, time."""

import json
import re
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pydantic

from foundation.errors import ConfigError

GPU_NODES = (
    "Trainer-undefended",
    "Trainer-robust",
    "FrontTuner",
    "AdversarialExampleGen",
    "ChampionChallenge",
)
"""Nodes that compute on an accelerator, where their container is given one: both Trainers, the
search before them, and the two nodes that attack."""

QUANTITY = r"\d+(\.\d+)?(Ki|Mi|Gi|Ti|k|M|G|T)"
"""What Kubernetes calls a quantity of memory, as far as one is written for a machine."""


MOST = {"cpu": 1024, "accelerators": 64, "retries": 100, "timeout": 30 * 24 * 3600}
"""What no machine or platform goes beyond; a number above it is a slip."""


@dataclass(frozen=True, kw_only=True)
class Resources:
    """The machine of a node; 0 or '' leaves it to the platform.

    cpu: processors. memory: a quantity of Kubernetes, such as `16Gi`.
    accelerator: its name on the platform, such as `NVIDIA_TESLA_T4` (Vertex AI) or `nvidia.com/gpu`
        (Kubeflow). accelerators: number of them.
    retries: further attempts after a failure, such as a preempted machine. timeout: seconds.
    machine_type: Vertex AI, Trainers only: train in a training job, on machines of this type, such
        as `n1-standard-8`. replicas: number of them. tpu_topology: of a TPU machine, such as `2x2`.

    Raises:
        ConfigError: a number that no machine has, a memory that is no quantity, or what needs a
            machine_type.
    """

    cpu: float = 0.0
    memory: str = ""
    accelerator: str = ""
    accelerators: int = 0
    retries: int = 0
    timeout: int = 0
    machine_type: str = ""
    replicas: int = 1
    tpu_topology: str = ""

    def __post_init__(self) -> None:
        for name, most in MOST.items():
            if not 0 <= getattr(self, name) <= most:
                raise ConfigError(f"{name} is from 0 to {most}, got {getattr(self, name)}")
        if self.memory and not re.fullmatch(QUANTITY, self.memory, re.ASCII):
            raise ConfigError(f"memory is a quantity such as 16Gi, got {self.memory!r}")
        if not self.machine_type and (self.replicas != 1 or self.tpu_topology):
            raise ConfigError("replicas and tpu_topology are for a training job: set machine_type")
        if self.replicas < 1:
            raise ConfigError(f"replicas is at least 1, got {self.replicas}")
        if bool(self.accelerator) != bool(self.accelerators):
            raise ConfigError(
                "accelerator and accelerators go together: the name and how many of them; got "
                f"{self.accelerator!r} and {self.accelerators}"
            )

    def training_job(self, image: str, project: str, region: str, account: str) -> str:
        """The training job of Vertex AI on these machines, as `components.trainer.JOB` has it:
        CustomJobSpec of google.cloud.aiplatform.v1, one worker pool for the chief and one for the
        others."""
        machine: dict[str, Any] = {"machine_type": self.machine_type}
        if self.accelerator:
            machine["accelerator_type"] = self.accelerator
            machine["accelerator_count"] = self.accelerators
        if self.tpu_topology:
            machine["tpu_topology"] = self.tpu_topology
        sizes = [1, self.replicas - 1] if self.replicas > 1 else [1]
        pools = [
            {"machine_spec": machine, "replica_count": n, "container_spec": {"image_uri": image}}
            for n in sizes
        ]
        spec: dict[str, Any] = {"worker_pool_specs": pools}
        if account:
            spec["service_account"] = account
        if self.timeout:
            spec["scheduling"] = {"timeout": {"seconds": self.timeout}}
        return json.dumps(
            {"project": project, "region": region, "job_spec": spec},
            sort_keys=True,
            allow_nan=False,
        )


SMALL = Resources(cpu=2, memory="4Gi", retries=1)
"""For nodes that read, write and decide."""

LARGE = Resources(cpu=4, memory="16Gi", retries=2)
"""For nodes that train, attack and evaluate: a training that is started again goes on from its
checkpoints."""


@dataclass(frozen=True, kw_only=True)
class Profile:
    """The machines of a pipeline.

    nodes: by the name of a task. default: of all others.
    """

    default: Resources = SMALL
    nodes: dict[str, Resources] = field(
        default_factory=lambda: dict.fromkeys((*GPU_NODES, "Evaluator"), LARGE)
    )

    @property
    def machines(self) -> dict[str, Resources]:
        """All of them by task; '' is any other task."""
        return {"": self.default, **self.nodes}

    def of(self, task: str) -> Resources:
        """The machine of a task."""
        return self.nodes.get(task, self.default)


def read_profile(path: Path) -> Profile:
    """A profile from a TOML file: a table `default`, and one for each task that differs from it.

        [default]
        cpu = 2
        memory = "4Gi"

        [Trainer-robust]
        cpu = 8
        accelerator = "NVIDIA_TESLA_T4"
        accelerators = 1

    What a table leaves out is that of the built-in profile.

    Raises:
        ConfigError: it cannot be read, or has a wrong name or value.
    """
    try:
        tables = tomllib.loads(path.read_text())
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(f"{path} cannot be read as a TOML file of resources: {error}") from error
    known = Profile()
    default = _resources(known.default, tables.pop("default", {}), f"{path}: default")
    nodes = {
        name: _resources(known.nodes.get(name, default), table, f"{path}: {name}")
        for name, table in tables.items()
    }
    return Profile(default=default, nodes=known.nodes | nodes)


def _resources(known: Resources, table: object, where: str) -> Resources:
    if not isinstance(table, dict):
        raise ConfigError(f"{where} is a table such as [Trainer-robust], got {table!r}")
    if unknown := table.keys() - vars(known).keys():
        raise ConfigError(f"{where}: {sorted(unknown)} is none of {sorted(vars(known))}")
    if table.get("machine_type") and (of_tasks := {"cpu", "memory", "retries"} & table.keys()):
        raise ConfigError(
            f"{where}: {', '.join(sorted(of_tasks))} cannot be had with a machine_type, which says "
            "what the machine is; a training job is not tried again by itself"
        )
    try:
        return pydantic.TypeAdapter(Resources).validate_python(vars(known) | table)
    except pydantic.ValidationError as error:
        (first, *_) = error.errors(include_url=False)
        name = ".".join(map(str, first["loc"]))
        raise ConfigError(f"{where}: {name}={first['input']!r}: {first['msg']}") from error
    except ConfigError as error:
        raise ConfigError(f"{where}: {error}") from error
