"""What both compiled files mean, task by task: who gives what to whom, what is cached, who sees an
accelerator. A change of the pipeline shows here as the change of a line."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from gauntlet_kubeflow.compile import compile_pipeline
from gauntlet_kubeflow.request import Compilation
from gauntlet_kubeflow.target import Target

from pipeline.definition.config import override
from pipeline.definition.presets import preset

FOLDER = Path(__file__).parent / "golden"


def meaning(compiled: dict[str, Any]) -> str:
    """A specification in lines, one fact each."""
    spec = compiled.get("pipelineSpec", compiled)
    return "\n".join([*pipeline_lines(compiled, spec), *task_lines(spec)]) + "\n"


def pipeline_lines(compiled: dict[str, Any], spec: dict[str, Any]) -> Iterator[str]:
    yield f"pipeline {spec['pipelineInfo']['name']}, schema {spec['schemaVersion']}"
    yield f"root {spec['defaultPipelineRoot']}"
    for part in ("runtimeConfig", "platforms"):
        if part in compiled:
            yield f"with {part}: {', '.join(sorted(compiled[part]))}"
    for name, declared in spec["root"]["inputDefinitions"]["parameters"].items():
        yield f"parameter {name}: {declared['parameterType']}={declared['defaultValue']}"


def task_lines(spec: dict[str, Any]) -> Iterator[str]:
    for name, task in sorted(spec["root"]["dag"]["tasks"].items()):
        component = spec["components"][task["componentRef"]["name"]]
        executor = spec["deploymentSpec"]["executors"][component["executorLabel"]]
        yield f"\n{name}: {runs(executor)}"
        yield f"  after {' '.join(task.get('dependentTasks', ['nothing']))}"
        cached = task["cachingOptions"]["enableCache"]
        attempts = 1 + task.get("retryPolicy", {}).get("maxRetryCount", 0)
        yield f"  {'cached' if cached else 'never cached'}, {attempts} attempts"
        for side in ("artifacts", "parameters"):
            for key, source in sorted(task.get("inputs", {}).get(side, {}).items()):
                yield f"  takes {key} from {source_of(source)}"
        for side in ("artifacts", "parameters"):
            for key in sorted(component.get("outputDefinitions", {}).get(side, {})):
                yield f"  makes {key} ({side})"


def runs(executor: dict[str, Any]) -> str:
    if "importer" in executor:
        return f"imports, reimport {executor['importer'].get('reimport', False)}"
    container = executor["container"]
    words = container["command"][2:]
    arguments = container["args"]
    if "--executor_class_path" in arguments:
        words = [*words, arguments[arguments.index("--executor_class_path") + 1]]
    hidden = any(each["name"] == "CUDA_VISIBLE_DEVICES" for each in container.get("env", ()))
    resources = container.get("resources", {})
    machine = f"{resources.get('cpuLimit', '?')} cpus, {resources.get('memoryLimit', '?')} GB"
    return f"{' '.join(words)}; {machine}{', no accelerator' if hidden else ''}"


def source_of(source: dict[str, Any]) -> str:
    if "taskOutputArtifact" in source:
        made = source["taskOutputArtifact"]
        return f"{made['producerTask']}.{made['outputArtifactKey']}"
    if "taskOutputParameter" in source:
        answer = source["taskOutputParameter"]
        return f"{answer['producerTask']}.{answer['outputParameterKey']}"
    if "componentInputParameter" in source:
        return f"the run's {source['componentInputParameter']}"
    return "the file"


@pytest.mark.parametrize("target", list(Target))
def test_the_meaning_of_a_compiled_pipeline(target: Target) -> None:
    """After a change on purpose: write what the test shows into the file, and read the diff."""
    config = override(preset("smoke"), ["data.span=2", "trainer.warm_start=true"])
    request = Compilation(
        config=config, target=target, image="i", pipeline_root="gs://b/f",
        data_uri="gs://b/data", data_fingerprint="f0",
    )  # fmt: skip
    found = meaning(compile_pipeline(request))
    expected = (FOLDER / f"{target}.txt").read_text()
    assert found.splitlines() == expected.splitlines(), found
