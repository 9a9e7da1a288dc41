"""Summary and Verdict: what became of the model, where a platform and its users see it.

They are two nodes, because no platform keeps the artifacts of a node that fails.
"""

import json
import logging
import os

from tfx.dsl.component.experimental.annotations import InputArtifact, OutputArtifact, Parameter
from tfx.dsl.component.experimental.decorators import component
from tfx.dsl.io import fileio
from tfx.types.standard_artifacts import InfraBlessing, ModelBlessing, ModelEvaluation, PushedModel

from components.evaluator.explained import read_explanations
from components.pusher import FORCED, WITHDRAWN
from components.serving_check.component import read_problems
from foundation.errors import Refused
from foundation.json import dumps
from foundation.whole import write_text

log = logging.getLogger("gauntlet.verdict")

SUMMARY = "summary.json"
"""File in the artifact of Summary."""

SERVING, ROLLBACK, BY_FORCE = "serving", "rollback", "blessing by force"
"""Stand among the names of gates for what a fresh process found, for a rollback from the model, and
for a blessing that was given by hand, with which no run pushes."""


@component
def Summary(
    blessing: InputArtifact[ModelBlessing],
    servable: InputArtifact[InfraBlessing],
    pushed: InputArtifact[PushedModel],
    summary: OutputArtifact[ModelEvaluation],
) -> None:
    """Writes `summary.json`: `pushed`, the folder of the version, or null; `refused_by`, names of
    gates; `serving_problems`, sentences; `withdrawn`, who rolled back from the model (`by`, `at`,
    `reason`), or null; `forced`, the same of a blessing by hand; and `gates`, all of `gates.json`.

    The artifact's custom properties `pushed` and `refused_by` (with commas) say the same where a
    platform shows metadata.
    """
    gates = read_explanations(blessing.uri)
    problems = read_problems(servable.uri)
    withdrawn = json.loads(pushed.get_string_custom_property(WITHDRAWN) or "null")
    forced = json.loads(pushed.get_string_custom_property(FORCED) or "null")
    refused_by = [gate.name for gate in gates if gate.refuses]
    refused_by += [SERVING] * bool(problems) + [ROLLBACK] * bool(withdrawn)
    refused_by += [BY_FORCE] * bool(forced)
    was_pushed = pushed.get_int_custom_property("pushed")
    version = pushed.get_string_custom_property("pushed_destination") if was_pushed else ""
    content = {
        "pushed": version or None,
        "refused_by": refused_by,
        "serving_problems": problems,
        "withdrawn": withdrawn,
        "forced": forced,
        "gates": gates,
    }
    fileio.makedirs(summary.uri)
    write_text(os.path.join(summary.uri, SUMMARY), dumps(content))
    summary.set_string_custom_property("pushed", version)
    summary.set_string_custom_property("refused_by", ",".join(refused_by))


@component
def Verdict(summary: InputArtifact[ModelEvaluation], fail_on_refusal: Parameter[int]) -> None:
    """Ends a run in a state that tells a push from a refusal.

    fail_on_refusal: 0 lets the run succeed without a push.

    Raises:
        Refused: nothing was pushed, and that shall fail the run.
    """
    with fileio.open(os.path.join(summary.uri, SUMMARY)) as file:
        content = json.load(file)
    if content["pushed"]:
        log.info("pushed to %s", content["pushed"])
        return
    reasons = [gate["sentence"] for gate in content["gates"] if gate["passed"] is False]
    reasons += content["serving_problems"]
    if withdrawn := content["withdrawn"]:
        reasons.append("A rollback of {at} by {by} went back from it: {reason}".format(**withdrawn))
    if forced := content["forced"]:
        reasons.append("It was blessed by hand at {at} by {by}: {reason}".format(**forced))
    message = "no version was pushed, though nothing refused the model"
    if content["refused_by"]:
        message = (
            f"the model was refused by {', '.join(content['refused_by'])}: {' '.join(reasons)}"
        )
    if fail_on_refusal:
        raise Refused(message)
    log.warning("%s", message)
