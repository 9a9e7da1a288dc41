"""What a target cannot do: told when a pipeline is compiled, with what can be done instead."""

from collections.abc import Callable
from dataclasses import dataclass

from gauntlet_kubeflow.addresses import check_address, check_image, check_mount
from gauntlet_kubeflow.request import Compilation
from gauntlet_kubeflow.resources import GPU_NODES
from gauntlet_kubeflow.target import STORES, Target

from components.datasets.image_folder import is_folder
from foundation.errors import ConfigError
from pipeline.definition.config import ServingPlatform
from trainer.config import StrategyName, TrainerConfig


@dataclass(frozen=True, kw_only=True)
class Gap:
    """Something that a target cannot run.

    node: task that would. feature: what is asked for. targets: which cannot. asked: whether a
    request asks for it. reason: why it cannot be. instead: what a user can do.
    """

    node: str
    feature: str
    targets: tuple[Target, ...]
    asked: Callable[[Compilation], bool]
    reason: str
    instead: str


EVERYWHERE = tuple(Target)

GAPS = (
    Gap(
        node="InfraValidator",
        feature="serving.platform other than none",
        targets=EVERYWHERE,
        asked=lambda request: request.config.serving.platform is not ServingPlatform.NONE,
        reason="TFX cannot compile it (kubeflow/v2/step_builder.py)",
        instead="set serving.platform=none; ServingCheck asks a fresh process on every platform",
    ),
    Gap(
        node="TfdsExampleGen",
        feature="data.dataset that is a folder of this machine",
        targets=EVERYWHERE,
        asked=lambda request: is_folder(request.config.data.dataset),
        reason="its container does not see it",
        instead="prepare it with `gauntlet prepare`, copy the result into a store, and name that "
        "with --data-uri",
    ),
    Gap(
        node="LastSpan",
        feature="data.span of a data set that is fetched",
        targets=EVERYWHERE,
        asked=lambda request: bool(request.config.data.span and not request.data_uri),
        reason="a named data set has no spans",
        instead="name the prepared span with --data-uri",
    ),
    Gap(
        node="Trainer-robust",
        feature="trainer.strategy=tpu",
        targets=(Target.KFP_V2,),
        asked=lambda request: request.config.trainer.strategy is StrategyName.TPU,
        reason="nothing tells the container the address of a TPU",
        instead="compile for vertex with a training job, or train with trainer.strategy=mirrored",
    ),
    Gap(
        node="Trainer-robust",
        feature="trainer.strategy=multi_worker on several machines",
        targets=(Target.KFP_V2,),
        asked=lambda request: (
            needs_job(request.config.trainer)
            and request.config.trainer.strategy is StrategyName.MULTI_WORKER
        ),
        reason="the node is one container, and nobody sets TF_CONFIG in it",
        instead="set trainer.strategy=mirrored with several accelerators on one machine "
        "(--resources), trainer.workers=N for processes in the container, or compile for vertex "
        "with a training job",
    ),
    Gap(
        node="Trainer-robust",
        feature="trainer.strategy=tpu or multi_worker without a training job",
        targets=(Target.VERTEX,),
        asked=lambda request: needs_job(request.config.trainer) and len(request.training_jobs) < 2,
        reason="the node is one container, and nobody sets TF_CONFIG or TPU_NAME in it",
        instead="give both Trainers a machine_type in --resources",
    ),
    Gap(
        node="FrontTuner",
        feature="a search (tuner.trials) with trainer.strategy=tpu or multi_worker",
        targets=(Target.VERTEX,),
        asked=lambda request: (
            bool(request.config.tuner.trials) and needs_job(request.config.trainer)
        ),
        reason="it runs in one container and no training job",
        instead="search with another strategy, and compile with what it found",
    ),
    Gap(
        node="Trainer-robust",
        feature="a training job (machine_type)",
        targets=(Target.KFP_V2,),
        asked=lambda request: bool(request.training_jobs),
        reason="Kubeflow has none",
        instead="leave machine_type out, and give the task cpu, memory and accelerators",
    ),
    Gap(
        node="Trainer-robust",
        feature="a training job without --project and --region",
        targets=(Target.VERTEX,),
        asked=lambda request: (
            bool(request.training_jobs) and not (request.project and request.region)
        ),
        reason="the job is submitted by the task",
        instead="name both",
    ),
    Gap(
        node="all",
        feature="machine_type of a task that is no Trainer",
        targets=EVERYWHERE,
        asked=lambda request: any(
            machine.machine_type and task not in ("Trainer-undefended", "Trainer-robust")
            for task, machine in request.profile.machines.items()
        ),
        reason="only training runs in jobs",
        instead="give it cpu, memory and accelerators",
    ),
    Gap(
        node="all",
        feature="a volume (--volume)",
        targets=(Target.VERTEX,),
        asked=lambda request: request.volume is not None,
        reason="Vertex AI mounts no claims",
        instead="name a bucket with --store",
    ),
    Gap(
        node="all",
        feature="a pipeline root (--pipeline-root) outside of the stores",
        targets=EVERYWHERE,
        asked=lambda request: not request.pipeline_root.startswith(STORES[request.target]),
        reason="Vertex AI keeps artifacts in Cloud Storage, Kubeflow's launcher in that or in "
        "s3:// or minio://",
        instead="name a bucket, gs://BUCKET/FOLDER",
    ),
    Gap(
        node="all",
        feature="a store outside gs://",
        targets=(Target.VERTEX,),
        asked=lambda request: bool(request.store and not request.store.startswith("gs://")),
        reason="the tasks of Vertex AI share no folder",
        instead="name a bucket with --store",
    ),
    Gap(
        node="all",
        feature="a store that is neither in gs:// nor in the volume",
        targets=(Target.KFP_V2,),
        asked=lambda request: bool(request.store) and not shared(request),
        reason="each container would have its own",
        instead="name a volume with --volume, and a folder in it",
    ),
    Gap(
        node="all",
        feature="an accelerator of a task that computes on none",
        targets=EVERYWHERE,
        asked=lambda request: any(
            machine.accelerators and task not in GPU_NODES
            for task, machine in request.profile.machines.items()
        ),
        reason="it would be reserved and hidden",
        instead=f"give accelerators to {', '.join(GPU_NODES)} only",
    ),
    Gap(
        node="Trainer-robust",
        feature="several machines without trainer.strategy=multi_worker",
        targets=(Target.VERTEX,),
        asked=lambda request: any(
            machine.replicas > 1
            and request.config.trainer.strategy
            not in (StrategyName.MULTI_WORKER, StrategyName.AUTO)
            for machine in request.training_jobs.values()
        ),
        reason="each of them would train alone",
        instead="set trainer.strategy=multi_worker",
    ),
    Gap(
        node="Data",
        feature="prepared data (--data-uri) outside of the stores",
        targets=EVERYWHERE,
        asked=lambda request: bool(
            request.data_uri and not request.data_uri.startswith(STORES[request.target])
        ),
        reason="nobody fetches it from there",
        instead="copy it to gs://, on Kubeflow to s3:// or minio://",
    ),
    Gap(
        node="all",
        feature="a timeout of a node",
        targets=(Target.VERTEX,),
        asked=lambda request: any(
            machine.timeout and not machine.machine_type
            for machine in request.profile.machines.values()
        ),
        reason="a task of Vertex AI that is no training job has none",
        instead="leave it out, and watch with `gauntlet submit --wait --timeout`",
    ),
)


def needs_job(trainer: TrainerConfig) -> bool:
    """Whether a training needs somebody who tells it of a TPU or of other machines."""
    several = trainer.strategy is StrategyName.MULTI_WORKER and trainer.workers == 1
    return several or trainer.strategy is StrategyName.TPU


def shared(request: Compilation) -> bool:
    """Whether all containers of Kubeflow see the store."""
    inside = request.volume and f"{request.store}/".startswith(f"{request.volume.path}/")
    return request.store.startswith("gs://") or bool(inside)


def refuse_what_cannot_run(request: Compilation) -> None:
    """Raises ConfigError that names all of a request that its target cannot run, or what is no
    address or name at all."""
    check_image("--image", request.image)
    for option, address in (
        ("--pipeline-root", request.pipeline_root),
        ("--store", request.store),
        ("--data-uri", request.data_uri),
    ):
        check_address(option, address)
    if request.gpu_image:
        check_image("--gpu-image", request.gpu_image)
    if request.volume:
        check_mount("--volume", request.volume.path)
    gaps = [gap for gap in GAPS if request.target in gap.targets and gap.asked(request)]
    if gaps:
        lines = [f"{gap.node}: {gap.feature}: {gap.reason}; {gap.instead}" for gap in gaps]
        raise ConfigError(f"{request.target} cannot run this: " + "\n".join(lines))
