"""Vertex AI's model registry and endpoints.

Each pushed version is a version of one model in the registry. What is there already is not done
again, so a command that was interrupted may be repeated.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from gauntlet_kubeflow.clients import google as cloud
from gauntlet_kubeflow.clients.run import LostConnection
from gauntlet_kubeflow.deploy.pushed import Pushed
from gauntlet_kubeflow.deploy.request import Registration
from google.cloud.aiplatform_v1 import types
from google.cloud.aiplatform_v1.services.endpoint_service import EndpointServiceClient
from google.cloud.aiplatform_v1.services.model_service import ModelServiceClient

from components.versions import MEASURED
from foundation.errors import ConfigError, RunError
from foundation.events import phase

SERVING_IMAGE = "{}-docker.pkg.dev/vertex-ai/prediction/tf2-cpu.2-15:latest"
"""Google's newest for TensorFlow (`TF_CONTAINER_URIS`, google/cloud/aiplatform/constants). It takes
the folder of a version as it is."""

CONTINENTS = {"europe": "europe", "asia": "asia"}
"""Where that image has copies beside the one in the us."""

UPLOAD_SECONDS, DEPLOY_SECONDS = 1800.0, 3600.0
"""Time in which a version is copied to the registry, and in which machines start."""

VERSION_LABEL = "gauntlet_version"


@dataclass(frozen=True, kw_only=True)
class Registered:
    """A version in the registry. model: resource name. new: whether it was uploaded just now."""

    model: str
    version: str
    new: bool

    def __str__(self) -> str:
        return f"{self.model}@{self.version}"


class VertexModels:
    """The models and endpoints of a project in a region.

    Raises:
        ConfigError: project or region are not named, or there are no credentials.
    """

    def __init__(self, registration: Registration) -> None:
        cloud.check_place(registration.project, registration.region)
        self._asked = registration
        self._parent = f"projects/{registration.project}/locations/{registration.region}"
        place = registration.region, registration.api_endpoint
        self._models = cloud.client(ModelServiceClient, *place)
        self._endpoints = cloud.client(EndpointServiceClient, *place)
        self._address = self._models.api_endpoint

    def register(self, pushed: Pushed) -> Registered:
        """Upload a version, unless it is in the registry.

        Raises:
            ConfigError: Vertex AI cannot read where it lies. RunError: the upload failed.
        """
        if not pushed.folder.startswith("gs://"):
            raise ConfigError(
                f"Vertex AI reads gs:// only, not {pushed.folder}; copy the version to a bucket, "
                "and name it there: --model-uri gs://BUCKET/serving/VERSION"
            )
        with cloud.answering(self._address):
            model = self._model()
            for version in self._versions(model):
                if version.artifact_uri.rstrip("/") == pushed.uri:
                    return Registered(model=model, version=version.version_id, new=False)
        request = types.UploadModelRequest(
            parent=self._parent, parent_model=model, model=self._described(pushed)
        )
        with phase("upload"):
            done = self._done(self._models.upload_model, request, UPLOAD_SECONDS)
        return Registered(model=done.model, version=done.model_version_id, new=True)

    def deploy(self, registered: Registered) -> bool:
        """Let an endpoint serve a version; returns whether it did not yet.

        Raises:
            ConfigError: the traffic cannot be split so. RunError: the deployment failed.
        """
        endpoint = self._endpoint()
        for served in endpoint.deployed_models:
            if (served.model, served.model_version_id) == (registered.model, registered.version):
                share = dict(endpoint.traffic_split).get(served.id, 0)
                if share != self._asked.traffic:
                    raise ConfigError(
                        f"the endpoint serves this version already, with {share} percent of the "
                        f"requests, not {self._asked.traffic}; `gcloud ai endpoints update "
                        "--traffic-split` changes that"
                    )
                return False
        request = types.DeployModelRequest(
            endpoint=endpoint.name,
            deployed_model=types.DeployedModel(
                model=str(registered),
                display_name=self._asked.name,
                dedicated_resources=types.DedicatedResources(
                    machine_spec=types.MachineSpec(machine_type=self._asked.machine_type),
                    min_replica_count=1,
                    max_replica_count=1,
                ),
            ),
            traffic_split=split(dict(endpoint.traffic_split), self._asked.traffic),
        )
        with phase("deploy"):
            self._done(self._endpoints.deploy_model, request, DEPLOY_SECONDS)
        return True

    def _model(self) -> str:
        """The resource name of the model with our display name; '' where there is none."""
        named = self._models.list_models(
            types.ListModelsRequest(
                parent=self._parent, filter=f'display_name="{self._asked.name}"'
            ),
            timeout=cloud.SECONDS,
        )
        names = [model.name for model in named]
        if len(names) > 1:
            raise ConfigError(
                f"the registry has {len(names)} models called {self._asked.name!r}: "
                f"{', '.join(names)}; give another --name"
            )
        return names[0] if names else ""

    def _versions(self, model: str) -> Iterable[types.Model]:
        if not model:
            return ()
        return self._models.list_model_versions(name=model, timeout=cloud.SECONDS)

    def _described(self, pushed: Pushed) -> types.Model:
        """The model as the registry keeps it, with what the card says."""
        region = self._asked.region.partition("-")[0]
        image = self._asked.serving_image or SERVING_IMAGE.format(CONTINENTS.get(region, "us"))
        return types.Model(
            display_name=self._asked.name,
            version_aliases=["default", f"v{pushed.version}"],
            version_description=description(pushed),
            labels=labels(pushed),
            artifact_uri=pushed.uri,
            container_spec=types.ModelContainerSpec(image_uri=image),
        )

    def _endpoint(self) -> types.Endpoint:
        """The endpoint with our display name, which is created where there is none."""
        name = self._asked.endpoint
        with cloud.answering(self._address):
            named = self._endpoints.list_endpoints(
                types.ListEndpointsRequest(parent=self._parent, filter=f'display_name="{name}"'),
                timeout=cloud.SECONDS,
            )
            for endpoint in named:
                return endpoint
        request = types.CreateEndpointRequest(
            parent=self._parent, endpoint=types.Endpoint(display_name=name)
        )
        with phase("endpoint"):
            made: types.Endpoint = self._done(
                self._endpoints.create_endpoint, request, UPLOAD_SECONDS
            )
        return made

    def _done(self, start: Any, request: Any, seconds: float) -> Any:
        """What a long operation gives, once it is over."""
        try:
            with cloud.answering(self._address):
                return start(request, timeout=cloud.SECONDS).result(timeout=seconds)
        except (LostConnection, TimeoutError) as error:
            why = str(error) or f"not done after {seconds:g} s"
            raise RunError(
                f"{why}; Vertex AI may still be at it: look there, then run the same command "
                "again, which does not repeat what is done"
            ) from error


def split(before: dict[str, int], percent: int) -> dict[str, int]:
    """How an endpoint divides its requests, in whole percents that are 100 together.

    Args:
        before: shares of the models that it serves, by their ids.
        percent: share of the new one, whose id is "0" until it is deployed.

    Raises:
        ConfigError: nobody is there to answer the rest.
    """
    serving = {name: share for name, share in before.items() if share}
    if percent < 100 and not serving:
        raise ConfigError(
            f"--traffic {percent} leaves {100 - percent} percent to models that the endpoint "
            "served before, and there are none"
        )
    rest = 100 - percent
    shares = {name: share * rest // sum(serving.values()) for name, share in serving.items()}
    if serving:
        largest = max(shares, key=lambda name: shares[name])
        shares[largest] += rest - sum(shares.values())
    return {"0": percent, **{name: share for name, share in shares.items() if share}}


def labels(pushed: Pushed) -> dict[str, str]:
    """What the card says, in the letters that a label may have: 0.8312 is 0-8312."""
    card = pushed.card
    texts = {VERSION_LABEL: pushed.version, "run_id": card.run_id, "pushed_by": card.kind.value}
    shares = {name: getattr(card, name) for name in MEASURED}
    texts |= {name: f"{share:.4f}" for name, share in shares.items() if share is not None}
    return {
        name: re.sub("[^a-z0-9_-]", "-", text.lower())[:63] for name, text in texts.items() if text
    }


def description(pushed: Pushed) -> str:
    """What the card says, for people."""
    shares = {name: getattr(pushed.card, name) for name in MEASURED}
    parts = [f"Gauntlet's version {pushed.version}"]
    parts += [
        f"{name.replace('_', ' ')} {share:.2%}"
        for name, share in shares.items()
        if share is not None
    ]
    if pushed.card.run_id:
        parts.append(f"run {pushed.card.run_id}")
    return ", ".join(parts)
