"""TFX's Evaluator, whose blessing also says why: `gates.json` beside it, and the refusals among its
properties."""

import dataclasses
import json
import os
from typing import Any

from google.protobuf import json_format
from tfx.components.evaluator import executor as tfx_evaluator
from tfx.dsl.io import fileio
from tfx.types import artifact_utils
from tfx.types.artifact import Artifact

# TFX first: without it, TFMA has none of its config messages.
from tensorflow_model_analysis.proto import config_pb2  # isort: skip

from components.evaluator.explanation import explain, gates_of
from components.records.rows import read_checks

GATES = "gates.json"
"""File in the blessing: a list of `components.evaluator.explanation.Explanation`."""

REFUSED_BY, REFUSALS = "refused_by", "refusals"
"""Properties of the blessing: names of the gates, with commas; and as JSON what each of them
says."""

SHOWN_IDS = 5
"""Ids of images that a property of the blessing lists; the file has them all."""


class Executor(tfx_evaluator.Executor):
    """TFX decides; this writes down by which gate."""

    def Do(
        self,
        input_dict: dict[str, list[Artifact]],
        output_dict: dict[str, list[Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Evaluate, bless or not, explain."""
        super().Do(input_dict, output_dict, exec_properties)
        config = json_format.Parse(exec_properties["eval_config"], config_pb2.EvalConfig())
        (split,) = json.loads(exec_properties["example_splits"])
        examples = input_dict["examples"]
        found = explain(
            gates_of(config),
            artifact_utils.get_single_uri(output_dict["evaluation"]),
            artifact_utils.get_split_uri(examples, split),
            {
                check["name"]: check["sentence"]
                for check in read_checks(artifact_utils.get_single_uri(examples))
            },
        )
        blessing = artifact_utils.get_single_instance(output_dict["blessing"])
        with fileio.open(os.path.join(blessing.uri, GATES), "w") as file:
            file.write(json.dumps([dataclasses.asdict(entry) for entry in found], indent=2))
        refused = [entry for entry in found if not entry.passed]
        blessing.set_string_custom_property(REFUSED_BY, ",".join(entry.name for entry in refused))
        shown = [dataclasses.asdict(entry) | {"ids": entry.ids[:SHOWN_IDS]} for entry in refused]
        blessing.set_string_custom_property(REFUSALS, json.dumps(shown))


def read_explanations(blessing: str) -> list[dict[str, Any]]:
    """What `Executor` wrote beside a blessing: the fields of `Explanation`, gate by gate."""
    with fileio.open(os.path.join(blessing, GATES)) as file:
        return list(json.load(file))
