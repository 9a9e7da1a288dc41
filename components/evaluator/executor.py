"""TFX's Evaluator, whose blessing also says why: `gates.json` beside it, and the refusals among its
properties. The evaluation also has the tally from which all was judged."""

import dataclasses
import json
import os
from typing import Any

from google.protobuf import json_format
from tfx.components.evaluator import executor as tfx_evaluator
from tfx.dsl.io import fileio
from tfx.types import artifact_utils, standard_component_specs
from tfx.types.artifact import Artifact
from tfx.utils import path_utils, proto_utils

# TFX first: without it, TFMA has none of its config messages.
from tensorflow_model_analysis.proto import config_pb2  # isort: skip

from components.champion_challenge.rivalry import Rivalry, read_rivalry
from components.evaluator import challenged, extractors
from components.evaluator.explained import GATES, Explanation
from components.evaluator.explanation import explain
from components.evaluator.gate import BEST, Best
from components.evaluator.metrics import gates_of
from components.evaluator.results import read_tally, refused_by
from components.evaluator.tally import Tally
from components.manifest import MODEL_SHA256
from components.records.checks import read_checks
from components.seen import digest_as_seen
from foundation.errors import ConfigError, RunError
from foundation.json import dumps
from foundation.whole import write_text

TALLY_FILE = "tally.json"
"""File in the evaluation: the `components.evaluator.tally.Tally` of all images."""

REFUSED_BY, REFUSALS = "refused_by", "refusals"
"""Properties of the blessing: names of the gates, with commas; and as JSON what each of them
says."""

NOT_COMPARED = "not_compared"
"""Property of the blessing: why the candidate was not compared with the champion, or ''."""

CHALLENGED = "challenged_examples"
"""Input with what ChampionChallenge made."""

SHOWN_IDS = 5
"""Ids of images that a property of the blessing lists; the file has more."""


class Executor(tfx_evaluator.Executor):
    """TFX decides; this says what is counted, and writes down by which gate."""

    def Do(
        self,
        input_dict: dict[str, list[Artifact]],
        output_dict: dict[str, list[Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Evaluate, bless or not, explain.

        Raises:
            ConfigError: a module of the user's own comes with the node, or a baseline model.
            RunError: another model was attacked, or the rows of the champion are lost.
        """
        if input_dict.get(standard_component_specs.BASELINE_MODEL_KEY):
            raise ConfigError(
                "this Evaluator takes no baseline_model: ChampionChallenge shows the rows to it, "
                "and the gate NoWorse compares"
            )
        blessing = artifact_utils.get_single_instance(output_dict["blessing"])
        given = input_dict["examples"]
        asked = input_dict.get(CHALLENGED)
        for model in input_dict.get(standard_component_specs.MODEL_KEY, ()):
            export = path_utils.serving_model_path(model.uri)
            digest = digest_as_seen(export, [*given, *(asked or ())])
            blessing.set_string_custom_property(MODEL_SHA256, digest)
        rivalry = read_rivalry(artifact_utils.get_single_uri(asked)) if asked else Rivalry()
        more = asked if asked and rivalry.champion else []
        exec_properties = with_extractors(with_best(exec_properties, rivalry), bool(asked))
        super().Do(input_dict | {"examples": [*given, *more]}, output_dict, exec_properties)
        evaluation = artifact_utils.get_single_uri(output_dict["evaluation"])
        tally = read_tally(evaluation)
        if rivalry.champion and not tally.subject.rival_attacks:
            raise RunError(f"{artifact_utils.get_single_uri(more)} has no row of the champion")
        write_text(os.path.join(evaluation, TALLY_FILE), tally.to_json())
        checks = read_checks(artifact_utils.get_single_uri(given))
        tally.sentences = {str(check.name): check.sentence for check in checks}
        tally.not_compared, tally.note = rivalry.reason, rivalry.note
        config = json_format.Parse(exec_properties["eval_config"], config_pb2.EvalConfig())
        note(blessing, explain(gates_of(config), tally, refused_by(evaluation)))


def note(blessing: Artifact, explanations: list[Explanation]) -> None:
    """Write what each gate says beside the blessing, and the refusals among its properties."""
    write_text(os.path.join(blessing.uri, GATES), dumps(explanations))
    refused = [each for each in explanations if each.refuses]
    blessing.set_string_custom_property(REFUSED_BY, ",".join(each.name for each in refused))
    shown = [dataclasses.replace(each, ids=each.ids[:SHOWN_IDS]) for each in refused]
    blessing.set_string_custom_property(REFUSALS, dumps(shown, indent=None))
    reasons = (each.not_compared for each in explanations if each.name != BEST)
    blessing.set_string_custom_property(NOT_COMPARED, next(filter(None, reasons), ""))


def with_best(exec_properties: dict[str, Any], rivalry: Rivalry) -> dict[str, Any]:
    """The node's properties with what the gate `Best` compares with, which is known since the
    challenge."""
    config = json_format.Parse(exec_properties["eval_config"], config_pb2.EvalConfig())
    for metric in (metric for spec in config.metrics_specs for metric in spec.metrics):
        told = json.loads(metric.config or "{}")
        if told.get("gate", {}).get("quantity") == Best.quantity:
            known = [] if rivalry.best is None else [repr(rivalry.best), rivalry.best_version]
            told["gate"]["argument"] = known or list(filter(None, [rivalry.no_best]))
            metric.config = json.dumps(told, allow_nan=False)
    return exec_properties | {"eval_config": proto_utils.proto_to_json(config)}


def with_extractors(
    exec_properties: dict[str, Any], was_challenged: bool = False
) -> dict[str, Any]:
    """The node's properties with the module of our extractors, where TFX looks for a user's.
    was_challenged: whether ChampionChallenge looked for a champion."""
    for key in (standard_component_specs.MODULE_FILE_KEY, standard_component_specs.MODULE_PATH_KEY):
        if exec_properties.get(key):
            raise ConfigError(
                f"{key}={exec_properties[key]!r}: this Evaluator brings rows to the gates by "
                "extractors of its own, and takes no module; leave it out"
            )
    module = challenged if was_challenged else extractors
    return exec_properties | {standard_component_specs.MODULE_PATH_KEY: module.__name__}


def read_written_tally(evaluation: str) -> Tally:
    """What `Executor` wrote into an evaluation."""
    with fileio.open(os.path.join(evaluation, TALLY_FILE)) as file:
        return Tally.from_json(file.read())
