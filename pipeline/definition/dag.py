"""The DAG. Read `create_pipeline` from top to bottom: that is what a run does."""

import dataclasses
import json
from dataclasses import dataclass
from typing import Any

from tfx.components import (
    ExampleValidator,
    InfraValidator,
    Pusher,
    StatisticsGen,
    Trainer,
    Transform,
)
from tfx.dsl.components.base.executor_spec import ExecutorClassSpec
from tfx.dsl.components.common.resolver import Resolver
from tfx.dsl.input_resolution.strategies.latest_blessed_model_strategy import (
    LatestBlessedModelStrategy,
)
from tfx.orchestration.metadata import ConnectionConfigType
from tfx.orchestration.pipeline import Pipeline
from tfx.proto import infra_validator_pb2, pusher_pb2, trainer_pb2, transform_pb2
from tfx.types.channel import Channel
from tfx.types.standard_artifacts import Model, ModelBlessing

from components import pusher
from components.adversarial_example_gen.component import AdversarialExampleGen
from components.anomaly_gate import AcceptedStatistics, AnomalyGate, LastSpan
from components.champion_challenge.component import ChampionChallenge
from components.curated_schema import CuratedSchema
from components.evaluator.component import ExplainedEvaluator
from components.schema import check_schema, schema_of
from components.serving_check.component import ServingCheck
from components.tfds_example_gen.component import TfdsExampleGen
from components.tuner import FrontTuner
from foundation.code import code_hash
from pipeline.definition.config import RunConfig, ServingConfig, ServingPlatform
from pipeline.definition.eval_config import eval_config
from trainer.config import TrainerConfig, TrainingTask
from trainer.network import users_function
from trainer.recipe_config import RecipeConfig, UndefendedConfig
from trainer.tuning import tuning_task


@dataclass(frozen=True, kw_only=True)
class Places:
    """Where a pipeline reads and writes; local paths, or `gs://` on a platform.

    pipeline_root: artifacts of all nodes. serving: folder of pushed versions. data_dir and
    data_fingerprint: see `TfdsExampleGen`. metadata: None where the platform brings its own.
    run_id: empty where the platform counts runs and keeps the cache itself. knows_blessings:
    whether the platform can look up the latest blessed model; without that, no model has a champion
    to beat.
    """

    pipeline_root: str
    serving: str
    data_dir: str | None = None
    data_fingerprint: str = ""
    metadata: ConnectionConfigType | None = None
    run_id: str = ""
    knows_blessings: bool = True


def create_pipeline(config: RunConfig, places: Places, beam_pipeline_args: list[str]) -> Pipeline:
    """The whole pipeline, for any orchestrator."""
    text = schema_of(config.data.dataset, config.data.image_shape, config.data.classes)
    check_schema(text, config.data.image_shape, config.data.classes)

    examples = TfdsExampleGen(
        dataset=config.data.dataset,
        data_dir=places.data_dir,
        fingerprint=places.data_fingerprint,
        splits=config.data.splits,
        shards=config.data.shards,
        code=code_hash("components"),
    )
    raw = examples.outputs["examples"]

    statistics = StatisticsGen(examples=raw)
    schema = CuratedSchema(text=text)
    validator = ExampleValidator(
        statistics=statistics.outputs["statistics"], schema=schema.outputs["schema"]
    )
    last_span = []
    if config.data.span:
        last_span.append(
            Resolver(
                strategy_class=LastSpan,
                config={"before": config.data.span},
                accepted=Channel(type=AcceptedStatistics),
            ).with_id("LastSpan")
        )
    anomaly_gate = AnomalyGate(
        anomalies=validator.outputs["anomalies"],
        statistics=statistics.outputs["statistics"],
        schema=schema.outputs["schema"],
        span=config.data.span,
        **({"last": last_span[0].outputs["accepted"]} if last_span else {}),
    )

    transform = Transform(
        examples=raw,
        schema=schema.outputs["schema"],
        preprocessing_fn="trainer.preprocessing.preprocessing_fn",
        custom_config={"image_shape": list(config.data.image_shape), "code": code_hash("trainer")},
        splits_config=transform_pb2.SplitsConfig(analyze=["train"], transform=[]),
        materialize=False,  # decoding is cheap: every reader applies the graph, nothing is stored twice
        disable_statistics=True,  # StatisticsGen has them
    )
    transform.add_upstream_node(anomaly_gate)

    champion = []
    if config.trainer.warm_start or (config.gates.champion and places.knows_blessings):
        champion.append(
            Resolver(
                strategy_class=LatestBlessedModelStrategy,
                model=Channel(type=Model),
                model_blessing=Channel(type=ModelBlessing),
            ).with_id("Champion")
        )

    def task(trainer_config: TrainerConfig, recipe: RecipeConfig) -> TrainingTask:
        return TrainingTask(
            config=trainer_config,
            recipe=recipe,
            threat=config.threat,
            image_shape=config.data.image_shape,
            classes=config.data.classes,
            seed=config.seed,
            checkpoints=f"{places.pipeline_root}/.checkpoints",
            code=code_hash("trainer", "robustness", *_users_module(trainer_config.network)),
        )

    inputs = {
        "examples": raw,
        "transform_graph": transform.outputs["transform_graph"],
        "train_args": trainer_pb2.TrainArgs(splits=["train"]),
        "eval_args": trainer_pb2.EvalArgs(splits=["validation"]),
    }
    robust_task = task(config.trainer, config.recipe)
    tuner = []
    if config.tuner.trials:
        epochs = config.tuner.epochs or -(-config.trainer.epochs // 3)
        search = tuning_task(robust_task, config.tuner.trials, epochs, config.tuner.clean_floor)
        tuner.append(
            FrontTuner(tuner_fn="trainer.tuning.tuner_fn", custom_config=_plain(search), **inputs)
        )

    undefended = Trainer(
        run_fn="trainer.train.run_fn",
        custom_config=_plain(task(config.trainer.undefended, UndefendedConfig())),
        **inputs,
    ).with_id("Trainer.undefended")
    robust = Trainer(
        run_fn="trainer.train.run_fn",
        custom_config=_plain(robust_task),
        base_model=champion[0].outputs["model"] if config.trainer.warm_start else None,
        hyperparameters=tuner[0].outputs["best_hyperparameters"] if tuner else None,
        **inputs,
    ).with_id("Trainer.robust")

    attack = AdversarialExampleGen(
        examples=raw,
        transform_graph=transform.outputs["transform_graph"],
        undefended=undefended.outputs["model"],
        robust=robust.outputs["model"],
        split="test",
        threat=config.threat,
        attack=config.attack,
        seed=config.seed,
        code=code_hash("components", "trainer", "robustness"),
    )
    challenge = ChampionChallenge(
        adversarial_examples=attack.outputs["adversarial_examples"],
        undefended=undefended.outputs["model"],
        robust=robust.outputs["model"],
        champion=champion[0].outputs["model"] if champion else None,
        split="test",
        threat=config.threat,
        attack=config.attack,
        seed=config.seed,
        code=code_hash("components", "trainer", "robustness"),
    )
    evaluator = ExplainedEvaluator(
        examples=challenge.outputs["challenged_examples"],
        model=robust.outputs["model"],
        eval_config=eval_config(config),
        example_splits=["test"],
    ).with_id("Evaluator")
    server = []
    if config.serving.platform is not ServingPlatform.NONE:
        server.append(
            InfraValidator(
                model=robust.outputs["model"],
                examples=raw,
                serving_spec=serving_spec(config.serving),
                request_spec=infra_validator_pb2.RequestSpec(
                    tensorflow_serving=infra_validator_pb2.TensorFlowServingRequestSpec(
                        signature_names=["serialized_examples"]
                    ),
                    split_name="test",
                    num_examples=8,
                ),
            )
        )
    serving = ServingCheck(
        model=robust.outputs["model"],
        examples=raw,
        split="test",
        code=code_hash("components", "trainer"),
        **({"infra_blessing": server[0].outputs["blessing"]} if server else {}),
    )
    push = Pusher(
        model=robust.outputs["model"],
        model_blessing=evaluator.outputs["blessing"],
        infra_blessing=serving.outputs["blessing"],
        push_destination=pusher_pb2.PushDestination(
            filesystem=pusher_pb2.PushDestination.Filesystem(base_directory=places.serving)
        ),
        # Another run is another key for the cache: the push looks at what is being served, every
        # time.
        custom_config={"run_id": places.run_id},
        custom_executor_spec=ExecutorClassSpec(pusher.Executor),
    )
    return Pipeline(
        pipeline_name="gauntlet",
        pipeline_root=places.pipeline_root,
        components=[
            examples,
            statistics,
            schema,
            validator,
            *last_span,
            anomaly_gate,
            transform,
            *champion,
            *tuner,
            undefended,
            robust,
            attack,
            challenge,
            evaluator,
            *server,
            serving,
            push,
        ],
        enable_cache=True,
        metadata_connection_config=places.metadata,
        beam_pipeline_args=beam_pipeline_args,
    )


def serving_spec(config: ServingConfig) -> infra_validator_pb2.ServingSpec:
    """Where InfraValidator starts TensorFlow Serving."""
    spec = infra_validator_pb2.ServingSpec(
        tensorflow_serving=infra_validator_pb2.TensorFlowServing(tags=[config.tag])
    )
    if config.platform is ServingPlatform.DOCKER:
        spec.local_docker.SetInParent()
    else:
        spec.kubernetes.SetInParent()
    return spec


def _plain(task: Any) -> dict[str, Any]:
    """A task as TFX carries it: what JSON can hold."""
    return dict(json.loads(json.dumps(dataclasses.asdict(task))))


def _users_module(network: str | None) -> list[str]:
    """The module of a user's own network: an edit of it is another training for the cache."""
    return [users_function(network).__module__] if network else []
