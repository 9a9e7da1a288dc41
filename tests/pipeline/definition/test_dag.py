"""The graph that `create_pipeline` makes of a configuration, and the keys of its nodes."""

import json
from pathlib import Path
from typing import Any

import pytest
from tfx.dsl.compiler import compiler
from tfx.orchestration.metadata import sqlite_metadata_connection_config
from tfx.orchestration.pipeline import Pipeline
from tfx.proto.orchestration import pipeline_pb2

from foundation import code
from foundation.errors import ConfigError
from pipeline.definition.config import override
from pipeline.definition.dag import Places, create_pipeline
from pipeline.definition.presets import preset
from pipeline.definition.terms import terms_of

GRAPH = """
Champion schema=CuratedSchema.schema
CuratedSchema
TfdsExampleGen after=Champion
StatisticsGen examples=TfdsExampleGen.examples
ExampleValidator schema=CuratedSchema.schema statistics=StatisticsGen.statistics
AnomalyGate anomalies=ExampleValidator.anomalies examples=TfdsExampleGen.examples schema=CuratedSchema.schema statistics=StatisticsGen.statistics
Transform examples=TfdsExampleGen.examples schema=CuratedSchema.schema after=AnomalyGate
Trainer.robust examples=TfdsExampleGen.examples transform_graph=Transform.transform_graph
Trainer.undefended examples=TfdsExampleGen.examples transform_graph=Transform.transform_graph
AdversarialExampleGen examples=TfdsExampleGen.examples robust=Trainer.robust.model transform_graph=Transform.transform_graph undefended=Trainer.undefended.model
ServingCheck examples=TfdsExampleGen.examples model=Trainer.robust.model
ChampionChallenge _Champion.not_compared=Champion.not_compared _Champion.version=Champion.version adversarial_examples=AdversarialExampleGen.adversarial_examples robust=Trainer.robust.model undefended=Trainer.undefended.model
Evaluator challenged_examples=ChampionChallenge.challenged_examples examples=AdversarialExampleGen.adversarial_examples model=Trainer.robust.model
Pusher _Champion.served=Champion.served infra_blessing=ServingCheck.blessing model=Trainer.robust.model model_blessing=Evaluator.blessing
"""  # noqa: E501
"""Of the preset `smoke`: each node with its inputs, and nodes that it only waits for."""

WITHOUT_GATE = {
    "ChampionChallenge": "adversarial_examples=AdversarialExampleGen.adversarial_examples "
    "robust=Trainer.robust.model undefended=Trainer.undefended.model",
}
SPAN = {
    "LastSpan": "",
    "AnomalyGate": "_LastSpan.accepted=LastSpan.accepted anomalies=ExampleValidator.anomalies "
    "examples=TfdsExampleGen.examples "
    "schema=CuratedSchema.schema statistics=StatisticsGen.statistics",
}
DATA = "examples=TfdsExampleGen.examples {}transform_graph=Transform.transform_graph"
BEST = "hyperparameters=FrontTuner.best_hyperparameters "
SEARCH = {"FrontTuner": DATA.format(""), "Trainer.robust": DATA.format(BEST)}
WARM = {"Trainer.robust": "_Champion.version=Champion.version " + DATA.format("")}
WARM_AND_SEARCHED = {"Trainer.robust": "_Champion.version=Champion.version " + DATA.format(BEST)}
SERVER = {
    "InfraValidator": "examples=TfdsExampleGen.examples model=Trainer.robust.model",
    "ServingCheck": "examples=TfdsExampleGen.examples infra_blessing=InfraValidator.blessing "
    "model=Trainer.robust.model",
}

ON_A_PLATFORM = {
    "Summary": "blessing=Evaluator.blessing pushed=Pusher.pushed_model "
    "servable=ServingCheck.blessing",
    "Verdict": "summary=Summary.summary",
}
IMPORTED = {"Data": "", "TfdsExampleGen": "data=Data.result after=Champion"}

EVERYTHING = [
    "data.span=3",
    "tuner.trials=2",
    "trainer.warm_start=true",
    "serving.platform=kubernetes",
]


def pipeline_of(settings: list[str], **places: Any) -> Pipeline:
    where = Places(
        pipeline_root="root",
        serving="serving",
        spans="spans",
        checkpoints="checkpoints",
        metadata=sqlite_metadata_connection_config("metadata.sqlite"),
        **places,
    )
    return create_pipeline(override(preset("smoke"), settings), where, [])


def compiled(settings: list[str], **places: Any) -> dict[str, pipeline_pb2.PipelineNode]:
    ir = compiler.Compiler().compile(pipeline_of(settings, **places))
    return {node.pipeline_node.node_info.id: node.pipeline_node for node in ir.nodes}


def inputs(node: pipeline_pb2.PipelineNode) -> str:
    """Where a node's inputs come from; those of a resolver come from no node."""
    edges = {
        (key, channel.producer_node_query.id, channel.output_key)
        for key, value in node.inputs.inputs.items()
        for channel in value.channels
        if channel.HasField("producer_node_query")
    }
    words = [f"{key}={producer}.{output}" for key, producer, output in sorted(edges)]
    waits = set(node.upstream_nodes) - {producer for _, producer, _ in edges}
    return " ".join([*words, *(f"after={other}" for other in sorted(waits))])


@pytest.mark.parametrize("anyway", [True, False])
def test_a_run_stops_for_want_of_images_except_on_a_platform_and_with_anyway(anyway: bool) -> None:
    (gate,) = (
        node for node in pipeline_of([], anyway=anyway).components if node.id == "AnomalyGate"
    )
    assert bool(gate.exec_properties.get("stop")) is not anyway
    assert Places(pipeline_root="r", serving="s", spans="a", checkpoints="c").anyway


def keys(settings: list[str], **places: Any) -> dict[str, Any]:
    nodes = pipeline_of(settings, **places).components
    return {
        node.id: node.exec_properties["code"] for node in nodes if "code" in node.exec_properties
    }


@pytest.mark.parametrize(
    ("settings", "places", "changes"),
    [
        ([], {}, {}),
        (["gates.champion=0"], {}, WITHOUT_GATE),
        ([], {"fail_on_refusal": True}, ON_A_PLATFORM),
        ([], {"data_uri": "gs://b/d"}, IMPORTED),
        (["data.span=3"], {}, SPAN),
        (["tuner.trials=2"], {}, SEARCH),
        (["trainer.warm_start=true"], {}, WARM),
        (["trainer.warm_start=true", "gates.champion=0"], {}, WARM | WITHOUT_GATE),
        (["serving.platform=docker"], {}, SERVER),
        (EVERYTHING, {}, SPAN | SEARCH | SERVER | WARM_AND_SEARCHED),
    ],
    ids=[
        "smoke",
        "no-champion",
        "platform",
        "imported-data",
        "span",
        "search",
        "warm-start",
        "warm-start-without-gate",
        "real-server",
        "all",
    ],
)
def test_the_graph(
    settings: list[str], places: dict[str, Any], changes: dict[str, str | None]
) -> None:
    lines = (line.partition(" ") for line in GRAPH.strip().splitlines())
    expected = {name: edges for name, _, edges in lines} | changes
    found = {name: inputs(node) for name, node in compiled(settings, **places).items()}
    assert found == {name: edges for name, edges in expected.items() if edges is not None}


def test_every_node_that_runs_code_has_a_key_in_what_is_compiled() -> None:
    nodes = compiled(EVERYTHING, data_uri="gs://b/d", fail_on_refusal=True)
    for name, node in nodes.items():
        assert ("code" in node.parameters.parameters) == (name != "Data"), name
    assert len(nodes) == 20


def test_a_champion_and_a_span_that_stay_are_taken_from_the_cache() -> None:
    """What they will find is a parameter of theirs."""
    settings = ["data.span=3"]
    one, same, other = (
        {name: str(node.parameters) for name, node in compiled(settings, **places).items()}
        for places in (
            {"served": "serving/1", "accepted": "spans/1"},
            {"served": "serving/1", "accepted": "spans/1"},
            {"served": "serving/2", "accepted": "spans/2"},
        )
    )
    assert one == same
    assert {name for name in one if one[name] != other[name]} == {"Champion", "LastSpan"}


@pytest.mark.parametrize(
    ("edited", "reached", "untouched"),
    [
        (
            "components/anomaly_gate.py",
            {"AnomalyGate"},
            {"TfdsExampleGen", "Evaluator", "Transform"},
        ),
        (
            "components/evaluator/executor.py",
            {"Evaluator"},
            {"AdversarialExampleGen", "Trainer.robust"},
        ),
        (
            "components/pusher.py",
            {"Pusher"},
            {"TfdsExampleGen", "AdversarialExampleGen", "Evaluator"},
        ),
        ("components/tuner.py", {"FrontTuner"}, {"Trainer.robust", "Trainer.undefended"}),
        ("components/serving_check/process.py", {"ServingCheck"}, {"Evaluator", "Pusher"}),
        ("trainer/preprocessing.py", {"Transform"}, {"StatisticsGen", "TfdsExampleGen"}),
        (
            "trainer/workers.py",
            {"Trainer.robust", "Trainer.undefended"},
            {"Transform", "Evaluator"},
        ),
        ("trainer/tuning.py", {"FrontTuner", "Trainer.robust"}, {"Transform", "Evaluator"}),
        (
            "robustness/bounds/branching.py",
            {"AdversarialExampleGen"},
            {"TfdsExampleGen", "Evaluator"},
        ),
        ("pipeline/definition/dag.py", set(), {"TfdsExampleGen", "Trainer.robust", "Pusher"}),
    ],
)
def test_an_edit_runs_the_nodes_again_that_run_it(
    monkeypatch: pytest.MonkeyPatch, edited: str, reached: set[str], untouched: set[str]
) -> None:
    settings = ["tuner.trials=2"]
    before, path = keys(settings), Path(code.__file__).parents[1] / edited
    read = Path.read_bytes
    assert path.is_file()
    monkeypatch.setattr(Path, "read_bytes", lambda self: read(self) + b"\n" * self.samefile(path))
    after = keys(settings)
    changed = {name for name in before if after[name] != before[name]}
    assert reached <= changed
    assert not changed & untouched


def test_another_version_beneath_runs_every_node_again(monkeypatch: pytest.MonkeyPatch) -> None:
    before = keys([])
    monkeypatch.setattr(code, "_versions", lambda: "another")
    after = keys([])
    assert all(after[name] != before[name] for name in before)
    assert "StatisticsGen" in before


def test_an_edit_of_what_a_users_network_imports_is_another_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "my_networks"
    package.mkdir()
    (package / "nets.py").write_text("from my_networks.layers import small")
    source = (
        "import tf_keras\nlayers = tf_keras.layers\n\ndef small(shape, classes):\n"
        "    flat = [layers.Input(shape), layers.Flatten(), layers.Dense(classes)]\n"
        "    return tf_keras.Sequential(flat)\n"
    )
    (package / "layers.py").write_text(source)
    monkeypatch.syspath_prepend(tmp_path)
    settings = ["trainer.network=my_networks.nets:small"]

    def tasks() -> list[Any]:
        nodes = {node.id: node for node in pipeline_of(settings).components}
        trainers = (nodes[f"Trainer.{model}"] for model in ("undefended", "robust"))
        return [json.loads(node.exec_properties["custom_config"]) for node in trainers]

    before = tasks()
    (package / "layers.py").write_text(f"{source}# edited\n")
    for one, other in zip(before, tasks(), strict=True):
        assert one.pop("code") != other.pop("code")
        assert one == other


def test_a_users_network_that_cannot_be_imported_ends_before_anything_is_compiled() -> None:
    with pytest.raises(ConfigError, match=r"trainer\.network=nowhere:small cannot be imported"):
        pipeline_of(["trainer.network=nowhere:small"])


def test_each_run_looks_at_what_is_served() -> None:
    """The push is another key for the cache in each run; nothing else is."""
    one, other = (
        {name: str(node.parameters) for name, node in compiled([], run_id=run_id).items()}
        for run_id in ("1", "2")
    )
    assert {name for name in one if one[name] != other[name]} == {"Pusher"}


OWN = [
    "data.dataset=image_folder/a",
    "data.image_shape=28,28,1",
    "data.classes=2",
    'data.class_names=["cat, grey", "dog"]',
]
"""A user's own images, of two classes."""


@pytest.mark.parametrize(
    ("change", "reached"),
    [
        ("seed=0", set()),
        (OWN[-1], set()),
        (
            'data.class_names=["dog", "cat, grey"]',
            {
                "TfdsExampleGen",
                "CuratedSchema",
                "AnomalyGate",
                "Champion",
                "Trainer.undefended",
                "Trainer.robust",
                "Evaluator",
                "Pusher",
            },
        ),
        (
            "data.class_names=cat,dog",
            {
                "TfdsExampleGen",
                "CuratedSchema",
                "AnomalyGate",
                "Champion",
                "Trainer.undefended",
                "Trainer.robust",
                "Evaluator",
                "Pusher",
            },
        ),
        ("data.accept_classes=true", {"Champion", "AnomalyGate", "ChampionChallenge"}),
    ],
    ids=["nothing", "the-same", "order", "name", "accepted"],
)
def test_class_names_are_in_the_keys_of_what_they_decide(change: str, reached: set[str]) -> None:
    """A node that is not named here sees them in an artifact, or not at all."""
    settings = [*OWN, "gates.worst_class=0.1"]
    one, other = (
        {name: str(node.parameters) for name, node in compiled(each).items()}
        for each in (settings, [*settings, change])
    )
    assert {name for name in one if one[name] != other[name]} == reached


JUDGE = {"Champion", "AnomalyGate", "Evaluator", "Pusher"}
"""Nodes that know the gates."""


@pytest.mark.parametrize(
    ("change", "places", "reached"),
    [
        (["gates.worst_case=0.5"], {}, JUDGE),
        (["gates.champion=0.05"], {}, JUDGE),
        (["gates.best=0.01"], {}, JUDGE | {"ChampionChallenge"}),
        ([], {"mandate": '{"force": true}'}, {"Champion", "Pusher"}),
        ([], {"served": "another key"}, {"Champion"}),
    ],
    ids=["gate", "level", "best", "mandate", "versions"],
)
def test_terms_reach_no_node_that_trains_or_attacks(
    change: list[str], places: dict[str, str], reached: set[str]
) -> None:
    """`best` is one more answer of Champion, which the challenge takes only where a gate asks."""
    one, other = (
        {name: str(node.parameters) + inputs(node) for name, node in found.items()}
        for found in (compiled([]), compiled(change, **places))
    )
    assert {name for name in one if one[name] != other[name]} == reached


def test_the_terms_of_a_folder_are_those_of_its_name() -> None:
    """Prepared images have no name of their own, so the run on this machine says it."""
    given = terms_of(override(preset("smoke"), [*OWN, "data.dataset=/somewhere/pets"]))
    nodes = {node.id: node for node in pipeline_of(OWN, terms=given).components}
    terms = [
        json.loads(nodes["Champion"].exec_properties["terms"]),
        json.loads(nodes["Pusher"].exec_properties["custom_config"])["terms"],
    ]
    assert [each["purpose"]["dataset"] for each in terms] == ["pets", "pets"]
    assert nodes["Champion"].exec_properties["terms"] == given.to_json()


def test_the_names_are_those_of_the_data_set() -> None:
    nodes = {node.id: node for node in pipeline_of(["data.dataset=fashion_mnist"]).components}
    task = json.loads(nodes["Trainer.robust"].exec_properties["custom_config"])
    assert task["class_names"][7:] == ["Sneaker", "Bag", "Ankle boot"]
    read = json.loads(nodes["TfdsExampleGen"].exec_properties["class_names"])
    assert read == task["class_names"]


def test_a_data_set_whose_classes_nobody_names_is_not_compiled() -> None:
    with pytest.raises(ConfigError, match=r"names 0 of 2 classes; .* data\.class_names=A,B"):
        pipeline_of(OWN[:-1])


def test_a_size_of_images_reaches_the_graph_and_the_serving_check() -> None:
    """And changes no node where there is none."""
    plain, resized = (
        {node.id: node.exec_properties for node in pipeline_of(settings).components}
        for settings in ([], ["data.resize=28,28"])
    )
    assert json.loads(resized["Transform"]["custom_config"])["resize"] is True
    assert resized["ServingCheck"]["resize"] == 1
    assert "resize" not in plain["Transform"]["custom_config"]
    assert not plain["ServingCheck"].get("resize")
