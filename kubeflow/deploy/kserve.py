"""The manifest of a KServe InferenceService that serves a pushed version.

KServe copies what lies below `storageUri` to /mnt/models, with the paths it has there
(`_download_s3`, `_download_gcs`: python/storage/kserve_storage/kserve_storage.py), and starts
TensorFlow Serving with `--model_base_path=/mnt/models`
(config/runtimes/kserve-tensorflow-serving.yaml). TensorFlow Serving takes the highest of the
numbered folders that it finds there. So `storageUri` is the folder of versions, not a version: with
the latter KServe's pod finds "no versions of servable" (https://github.com/kserve/kserve/issues/547).

What is copied is copied when a pod starts. The version stands in an annotation, which KServe hands
on to the pods: a manifest with another version replaces them, and they copy again.
"""

from typing import Any

from gauntlet_kubeflow.deploy.pushed import Pushed
from gauntlet_kubeflow.deploy.request import Service

from components.versions import MEASURED
from foundation.errors import ConfigError

SCHEMES = ("gs://", "s3://", "pvc://")
"""Stores that KServe reads and pushed models lie in."""


def manifest(pushed: Pushed, service: Service) -> dict[str, Any]:
    """The InferenceService.

    Raises:
        ConfigError: KServe cannot read the folder, or would serve another version of it.
    """
    if not pushed.folder.startswith(SCHEMES):
        raise ConfigError(
            f"KServe cannot read {pushed.folder}; name the same folder as the cluster sees it: "
            "--model-uri gs://BUCKET/serving, s3://BUCKET/serving or pvc://CLAIM/serving"
        )
    if pushed.newest is False:
        raise ConfigError(
            f"version {pushed.version} is not the newest in {pushed.folder}, and TensorFlow "
            "Serving takes the newest; `gauntlet rollback` makes an earlier model the newest"
        )
    quantities = {"cpu": service.cpu, "memory": service.memory}
    predictor: dict[str, Any] = {
        "model": {
            "modelFormat": {"name": "tensorflow", "version": "2"},
            "runtimeVersion": service.runtime_version,
            "storageUri": pushed.folder,
            "resources": {"requests": dict(quantities), "limits": dict(quantities)},
        }
    }
    if service.service_account:
        predictor["serviceAccountName"] = service.service_account
    return {
        "apiVersion": "serving.kserve.io/v1beta1",
        "kind": "InferenceService",
        "metadata": {
            "name": service.name,
            "namespace": service.namespace,
            "annotations": annotations(pushed),
        },
        "spec": {"predictor": predictor},
    }


def annotations(pushed: Pushed) -> dict[str, str]:
    """What the card says, as text."""
    values = {"version": pushed.version, "run-id": pushed.card.run_id}
    shares = {name.replace("_", "-"): getattr(pushed.card, name) for name in MEASURED}
    return {
        f"gauntlet/{name}": str(value)
        for name, value in (values | shares).items()
        if value is not None
    }
