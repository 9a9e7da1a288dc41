"""TFX's Trainer with our executors: one that begins with the champion, and one that has a training
job of Vertex AI do the work."""

import hashlib
import json
import time
from typing import Any

from google.api_core.exceptions import GoogleAPIError
from google.cloud.aiplatform_v1 import JobState
from tfx.components.trainer.executor import GenericExecutor
from tfx.components.trainer.fn_args_utils import FnArgs
from tfx.dsl.components.base.base_executor import BaseExecutor
from tfx.extensions.google_cloud_ai_platform import training_clients
from tfx.types.artifact import Artifact
from tfx.utils import name_utils

from foundation.errors import RunError

BEGIN = "begin"
"""Execution property of a Trainer with the folder of the model whose weights it begins with."""

JOB = "training_job"
"""Execution property of a Trainer with a training job of Vertex AI, as JSON: `project`, `region`,
and `job_spec`, a CustomJobSpec without commands."""

LABEL = "gauntlet_training"
"""Label of a training job; its value is the same for jobs that would write the same checkpoints."""

POLL, LOST = 30.0, 10
"""Seconds between two questions, and how many in a row may stay without an answer."""

ENDED = {
    JobState.JOB_STATE_SUCCEEDED,
    JobState.JOB_STATE_FAILED,
    JobState.JOB_STATE_CANCELLED,
    JobState.JOB_STATE_EXPIRED,
}


class TrainerExecutor(GenericExecutor):
    """TFX's executor of a Trainer, which begins with the model that the property `begin` names, as
    it does with an artifact `base_model`."""

    def _GetFnArgs(
        self,
        input_dict: dict[str, list[Artifact]],
        output_dict: dict[str, list[Artifact]],
        exec_properties: dict[str, Any],
    ) -> FnArgs:
        arguments = super()._GetFnArgs(input_dict, output_dict, exec_properties)
        arguments.base_model = exec_properties.get(BEGIN) or arguments.base_model
        return arguments


class JobExecutor(BaseExecutor):
    """Runs the same Trainer in a training job of Vertex AI, and waits for it: on one machine or
    several, of which Vertex AI tells each by TF_CONFIG who the others are.

    Follows TFX's own executor for that, tfx/extensions/google_cloud_ai_platform, except that the
    job is a property of its own, the model to begin with is passed on, no second job joins one that
    a task before this one has begun and not outlived, and every end of a job is one.
    """

    def Do(
        self,
        input_dict: dict[str, list[Artifact]],
        output_dict: dict[str, list[Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Submit the job and wait.

        Raises:
            RunError: the job failed, could not be submitted, or cannot be asked any more; or one
                for the same training has not ended.
        """
        job = json.loads(exec_properties[JOB])
        properties = {name: value for name, value in exec_properties.items() if name != JOB}
        project, region = job.pop("project"), job.pop("region")
        job["labels"] = {LABEL: training_key(input_dict, properties)}
        client = training_clients.get_job_client(enable_vertex=True, vertex_region=region)
        executor = name_utils.get_full_name(TrainerExecutor)
        try:
            require_no_other(client, f"projects/{project}/locations/{region}", job["labels"][LABEL])
            asked = client.create_training_job(
                input_dict, output_dict, properties, executor, job, None, None
            )
            client.launch_job(project, asked)
        except (GoogleAPIError, ConnectionError) as error:
            raise RunError(
                f"the training job of Vertex AI could not be submitted: {error}"
            ) from error
        wait_for(client)


def training_key(input_dict: dict[str, list[Artifact]], properties: dict[str, Any]) -> str:
    """The value of `LABEL`: of what is trained on, and how."""
    inputs = {name: [each.uri for each in artifacts] for name, artifacts in input_dict.items()}
    what = json.dumps([inputs, properties], sort_keys=True, default=str, allow_nan=False)
    return hashlib.sha256(what.encode()).hexdigest()[:32]


def require_no_other(client: Any, parent: str, key: str) -> None:
    """Raises RunError where a job for the same training is under way: both would write the same
    checkpoints.

    client: TFX's. parent: project and region. key: value of `LABEL`.
    """
    request = {"parent": parent, "filter": f"labels.{LABEL}={key}"}
    for other in client._client.list_custom_jobs(request=request):
        if other.state not in ENDED:
            raise RunError(
                f"{other.name} is a job for this very training and has not ended, though the task "
                "that waited for it has: `gcloud ai custom-jobs cancel` it and submit again, which "
                "goes on from its last checkpoint; after its end there are none"
            )


def wait_for(client: Any) -> None:
    """Wait for the end of the job that a client has submitted; raises RunError unless it succeeded,
    or where nobody answers any more."""
    lost = 0
    while True:
        try:
            job = client.get_job()
        except (GoogleAPIError, ConnectionError) as error:
            lost += 1
            if lost == LOST:
                raise RunError(
                    f"Vertex AI cannot be asked about {client.get_job_name()}, which may go on: "
                    f"{error}"
                ) from error
        else:
            lost = 0
            if job.state in ENDED:
                break
        time.sleep(POLL)
    if job.state != JobState.JOB_STATE_SUCCEEDED:
        raise RunError(
            f"the training job of Vertex AI failed: {job.name} ended as {job.state.name}"
            f"{': ' if job.error.message else ''}{job.error.message}"
        )
