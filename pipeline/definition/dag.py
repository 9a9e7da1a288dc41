"""The DAG. Read `create_pipeline` from top to bottom: that is what a run does."""

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tfx.components import (
    ExampleValidator,
    InfraValidator,
    Pusher,
    StatisticsGen,
    Trainer,
    Transform,
)
from tfx.dsl.components.base.base_component import BaseComponent
from tfx.dsl.components.base.executor_spec import ExecutorClassSpec
from tfx.dsl.components.common.importer import Importer
from tfx.dsl.placeholder.placeholder import Placeholder
from tfx.orchestration.metadata import ConnectionConfigType
from tfx.orchestration.pipeline import Pipeline
from tfx.proto import infra_validator_pb2, pusher_pb2, trainer_pb2, transform_pb2
from tfx.types.channel import Channel
from tfx.types.standard_artifacts import Examples

from components import pusher
from components.adversarial_example_gen.component import AdversarialExampleGen
from components.anomaly_gate import AnomalyGate, LastSpan
from components.binding import account
from components.champion import Champion
from components.champion_challenge.component import ChampionChallenge
from components.class_names import names_in
from components.curated_schema import CuratedSchema
from components.evaluator.asked import gates as gates_of
from components.evaluator.component import ExplainedEvaluator
from components.policy import Terms
from components.records.names import ROBUST, UNDEFENDED
from components.schema import check_schema, schema_of
from components.serving_check.component import ServingCheck
from components.tfds_example_gen.component import TfdsExampleGen
from components.trainer import BEGIN, JOB, JobExecutor, TrainerExecutor
from components.tuner import FrontTuner
from components.verdict import Summary, Verdict
from foundation.code import code_of
from foundation.json import dumps
from pipeline.definition.config import DataConfig, RunConfig, ServingConfig, ServingPlatform
from pipeline.definition.eval_config import eval_config
from pipeline.definition.graph import Dag
from pipeline.definition.terms import terms_of
from trainer.config import TrainerConfig, TrainingTask, TunerConfig, TuningTask
from trainer.network import users_function, users_network_key
from trainer.recipe_config import UndefendedConfig
from trainer.tuning import tuning_task

RUN_FN = "trainer.train.run_fn"


@dataclass(frozen=True, kw_only=True)
class Places:
    """Where a pipeline reads and writes; local paths, or `gs://` on a platform.

    pipeline_root: folder of the artifacts of all nodes. serving: folder of pushed versions.
    spans: folder of the accepted statistics of spans. checkpoints: folder of trainings that are not
    finished. name: name of the pipeline.
    data_dir, data_fingerprint: see `TfdsExampleGen`. data_uri: folder of prepared data that the
    platform imports. metadata: connection; None where the platform brings its own. run_id: empty
    where the platform counts runs and keeps the cache itself.
    served, accepted: what Champion and LastSpan will find, where that is known before the run.
    terms: purpose and policy of the run; None for those of the configuration, which does not know
    the name of a folder of images that is prepared already. mandate: who answers for another
    purpose or a weaker policy, as JSON, see `components.mandate.Mandate`.
    training_jobs: by model, the training job of Vertex AI that trains it, as JSON; a model without
    one is trained where its node runs.
    anyway: whether a run goes on where its test split has too few images for a gate, whatever model
    comes; on a platform nobody could say so while it runs.
    fail_on_refusal: whether a run without a push shall fail; None where somebody else tells the
    user what became of the model.
    """

    pipeline_root: str
    serving: str
    spans: str
    checkpoints: str
    name: str = "gauntlet"
    data_dir: str | None = None
    data_fingerprint: str = ""
    data_uri: str = ""
    metadata: ConnectionConfigType | None = None
    run_id: str = ""
    served: str = ""
    accepted: str = ""
    terms: Terms | None = None
    mandate: str = ""
    anyway: bool = True
    training_jobs: Mapping[str, str] = field(default_factory=dict)
    fail_on_refusal: bool | None = None


def create_pipeline(config: RunConfig, places: Places, beam_pipeline_args: list[str]) -> Pipeline:
    """The whole pipeline, for any orchestrator."""
    dag = Dag()
    text = checked_schema(config.data)
    class_names = names_in(text)
    terms = places.terms or terms_of(config)

    # A run for another purpose, or one that asks for less, ends before anything is computed.
    schema = dag.add(CuratedSchema(text=text), "schema")
    served = served_model(config, places, terms, schema)
    champion = dag.add(served, "version")

    # Labelled images are read.
    data = dag.add(imported_data(places), "result")
    raw = dag.add(ingestion(config.data, class_names, places, data), "examples", after=champion)

    # They must fit the schema and, where they come in spans, look like the last span.
    statistics = dag.add(StatisticsGen(examples=raw), "statistics")
    anomalies = dag.add(ExampleValidator(statistics=statistics, schema=schema), "anomalies")
    last = dag.add(last_span(config.data, places, terms), "accepted")
    gate = AnomalyGate(
        anomalies=anomalies,
        statistics=statistics,
        schema=schema,
        span=config.data.span,
        last=answer(last),
        spans=places.spans,
        accept_classes=int(config.data.accept_classes),
        seen=places.run_id if config.data.span else "",
        examples=raw,
        gates=dumps([gate.plain() for gate in gates_of(config.gates, class_names)], indent=None),
        dataset=terms.purpose.dataset if config.data.span else "",
        **({} if places.anyway else {"stop": 1}),
    )
    accepted = dag.add(gate, "accepted")

    # How an image becomes pixels is a graph, which is exported with every model.
    graph = dag.add(decoding(config.data, raw, schema), "transform_graph", after=accepted)

    # Two models are trained: one without a defence, and one with it, whose settings may be searched
    # first, and which may begin with the weights of the champion.
    data = training_data(raw, graph)
    plain, defended = training_tasks(config, class_names, places)
    undefended = dag.add(trainer(UNDEFENDED, plain, data, places), "model")
    best = dag.add(search(config.tuner, defended, data), "best_hyperparameters")
    begin = champion if config.trainer.warm_start else None
    robust = dag.add(trainer(ROBUST, defended, data, places, begin, best), "model")

    # Both are attacked; the champion meets the same attacks, and the candidate the champion's.
    others = {UNDEFENDED: undefended}
    attack = AdversarialExampleGen(
        examples=raw,
        transform_graph=graph,
        model=robust,
        others=others,
        split="test",
        threat=config.threat,
        attack=config.attack,
        seed=config.seed,
    )
    attacked = dag.add(attack, "adversarial_examples")
    rival = champion if config.gates.champion else None
    challenge = ChampionChallenge(
        adversarial_examples=attacked,
        model=robust,
        others=others,
        champion=answer(rival),
        accept_classes=config.data.accept_classes,
        not_compared=answer(served.outputs["not_compared"] if rival else None),
        best=answer(served.outputs["best"] if config.gates.best else None),
    )
    challenged = dag.add(challenge, "challenged_examples")

    # Every gate must let the robust model through.
    gates = eval_config(config, class_names)
    evaluator = ExplainedEvaluator(
        examples=attacked,
        challenged_examples=challenged,
        model=robust,
        eval_config=gates,
        example_splits=["test"],
    )
    blessing = dag.add(evaluator.with_id("Evaluator"), "blessing")

    # A fresh process, and a real server where there is one, must serve it.
    server = dag.add(real_server(config.serving, robust, raw), "blessing")
    servable = dag.add(serving_check(config.data, robust, raw, server), "blessing")

    # Only then it is pushed, and a platform is told what became of it.
    run = account(terms, places.mandate, config.seed, defended.code)
    met = served.outputs["served"]
    pushed = dag.add(push(robust, blessing, servable, met, run, places), "pushed_model")
    if places.fail_on_refusal is not None:
        summary = dag.add(Summary(blessing=blessing, servable=servable, pushed=pushed), "summary")
        dag.add(Verdict(summary=summary, fail_on_refusal=int(places.fail_on_refusal)))
    return Pipeline(
        pipeline_name=places.name,
        pipeline_root=places.pipeline_root,
        components=dag.nodes,
        enable_cache=True,
        metadata_connection_config=places.metadata,
        beam_pipeline_args=beam_pipeline_args,
    )


def answer(channel: Channel | None) -> str | Placeholder:
    """What a node answers that says a value, as a parameter of another; '' without one."""
    return "" if channel is None else channel.future()[0].value


def imported_data(places: Places) -> Importer | None:
    """Prepared data in a store of the platform. Where no fingerprint says what it is, it is new in
    each run."""
    if not places.data_uri:
        return None
    return Importer(
        source_uri=places.data_uri,
        artifact_type=Examples,
        reimport=not places.data_fingerprint,
    ).with_id("Data")


def ingestion(
    data: DataConfig, class_names: tuple[str, ...], places: Places, prepared: Channel | None
) -> BaseComponent:
    """Reads the splits, where the labels have these names."""
    return TfdsExampleGen(
        data=prepared,
        dataset=data.dataset,
        data_dir=places.data_dir or "",
        fingerprint=places.data_fingerprint,
        class_names=json.dumps(class_names, allow_nan=False),
        splits=json.dumps(data.splits, allow_nan=False),
        shards=data.shards,
    )


def checked_schema(data: DataConfig) -> str:
    """The schema of the data set; raises ConfigError when the configuration contradicts it."""
    text = schema_of(data.dataset, data.image_shape, data.classes, data.class_names)
    check_schema(text, data.image_shape, data.classes, data.class_names)
    return text


def last_span(data: DataConfig, places: Places, terms: Terms) -> BaseComponent | None:
    """Looks up the statistics of the span before this one, where data comes in spans."""
    if not data.span:
        return None
    dataset = terms.purpose.dataset
    return LastSpan(spans=places.spans, before=data.span, dataset=dataset, seen=places.accepted)


def serving_check(
    data: DataConfig, model: Channel, raw: Channel, server: Channel | None
) -> BaseComponent:
    """Asks a fresh process, which need not refuse images that the model resizes."""
    resize = {"resize": 1} if data.resize else {}
    return ServingCheck(model=model, examples=raw, split="test", infra_blessing=server, **resize)


def decoding(data: DataConfig, raw: Channel, schema: Channel) -> Transform:
    """Writes the graph. Decoding is cheap, so nothing is stored twice; StatisticsGen has the
    statistics."""
    return Transform(
        examples=raw,
        schema=schema,
        preprocessing_fn="trainer.preprocessing.preprocessing_fn",
        custom_config={"image_shape": list(data.image_shape)}
        | ({"resize": True} if data.resize else {}),
        splits_config=transform_pb2.SplitsConfig(analyze=["train"], transform=[]),
        materialize=False,
        disable_statistics=True,
    )


def served_model(config: RunConfig, places: Places, terms: Terms, schema: Channel) -> BaseComponent:
    """Compares the terms of the run with those of the place that it pushes to, and looks up the
    champion, whose classes must be those of the schema."""
    return Champion(
        serving=places.serving,
        schema=schema,
        accept_classes=int(config.data.accept_classes),
        seen=places.served,
        terms=terms.to_json(),
        mandate=places.mandate,
    )


def training_tasks(
    config: RunConfig, class_names: tuple[str, ...], places: Places
) -> tuple[TrainingTask, TrainingTask]:
    """What the two Trainers are told: without a defence, and with it."""
    plain = (config.trainer.undefended, UndefendedConfig())
    defended = (config.trainer, config.recipe)
    first, second = (
        TrainingTask(
            config=trainer,
            recipe=recipe,
            threat=config.threat,
            image_shape=config.data.image_shape,
            classes=config.data.classes,
            class_names=class_names,
            seed=config.seed,
            checkpoints=places.checkpoints,
            code=" ".join(
                [code_of(RUN_FN, *users_module(trainer.network)), *built(trainer, config.data)]
            ),
        )
        for trainer, recipe in (plain, defended)
    )
    return first, second


def users_module(network: str | None) -> list[str]:
    """The module of a user's own network; raises ConfigError when it cannot be imported."""
    if network is None:
        return []
    users_function(network)
    return [network.partition(":")[0]]


def built(trainer: TrainerConfig, data: DataConfig) -> list[str]:
    """The hash of a user's own network, as it is built for this data."""
    if trainer.network is None:
        return []
    return [users_network_key(trainer.network, data.image_shape, data.classes)]


def training_data(raw: Channel, graph: Channel) -> dict[str, Any]:
    """What is trained on, and by which the epoch to export is chosen."""
    return {
        "examples": raw,
        "transform_graph": graph,
        "train_args": trainer_pb2.TrainArgs(splits=["train"]),
        "eval_args": trainer_pb2.EvalArgs(splits=["validation"]),
    }


def search(tuner: TunerConfig, task: TrainingTask, data: dict[str, Any]) -> FrontTuner | None:
    """Searches the settings of the recipe, where trials are wanted."""
    if not tuner.trials:
        return None
    custom_config = as_json(tuning_task(task, tuner))
    return FrontTuner(tuner_fn="trainer.tuning.tuner_fn", custom_config=custom_config, **data)


def trainer(
    model: str,
    task: TrainingTask,
    data: dict[str, Any],
    places: Places,
    begin: Channel | None = None,
    hyperparameters: Channel | None = None,
) -> Trainer:
    """Trains one of the models and exports it. begin: Champion's answer, for a warm start."""
    job = places.training_jobs.get(model)
    executor = JobExecutor if job else TrainerExecutor if begin else None
    node = Trainer(
        run_fn=RUN_FN,
        custom_config=as_json(task),
        custom_executor_spec=ExecutorClassSpec(executor) if executor else None,
        hyperparameters=hyperparameters,
        **data,
    ).with_id(f"Trainer.{model}")
    if begin:
        node.exec_properties[BEGIN] = answer(begin)
    if job:
        node.exec_properties[JOB] = job
    return node


def as_json(task: TrainingTask | TuningTask) -> dict[str, Any]:
    """A task as TFX carries it: what JSON can hold."""
    return dict(json.loads(json.dumps(dataclasses.asdict(task), allow_nan=False)))


def real_server(serving: ServingConfig, model: Channel, raw: Channel) -> InfraValidator | None:
    """Starts TensorFlow Serving where it can run, and asks it for a few images."""
    if serving.platform is ServingPlatform.NONE:
        return None
    spec = infra_validator_pb2.ServingSpec(
        tensorflow_serving=infra_validator_pb2.TensorFlowServing(tags=[serving.tag])
    )
    if serving.platform is ServingPlatform.DOCKER:
        spec.local_docker.SetInParent()
    else:
        spec.kubernetes.SetInParent()
    signature = infra_validator_pb2.TensorFlowServingRequestSpec(
        signature_names=["serialized_examples"]
    )
    request = infra_validator_pb2.RequestSpec(
        tensorflow_serving=signature, split_name="test", num_examples=8
    )
    return InfraValidator(model=model, examples=raw, serving_spec=spec, request_spec=request)


def push(
    model: Channel,
    blessing: Channel,
    servable: Channel,
    met: Channel,
    run: dict[str, Any],
    places: Places,
) -> Pusher:
    """Pushes what is blessed twice, where what was served when the run began is served still, also
    where no gate compares with that. Each run is another key for the cache, because a push looks at
    what is being served.

    run: what the card says of it, see `components.binding.account`.
    """
    filesystem = pusher_pb2.PushDestination.Filesystem(base_directory=places.serving)
    node = Pusher(
        model=model,
        model_blessing=blessing,
        infra_blessing=servable,
        push_destination=pusher_pb2.PushDestination(filesystem=filesystem),
        custom_config={"run_id": places.run_id} | run,
        custom_executor_spec=ExecutorClassSpec(pusher.Executor),
    )
    node.exec_properties[pusher.MET] = answer(met)
    return node
