"""What all clients of Vertex AI share: how a service is reached, and its errors in our words.

Its REST interface is used: it goes through the proxies of companies, and a server of some lines can
stand in for it.
"""

import contextlib
from collections.abc import Iterator
from typing import Any, TypeVar, cast

import google.auth.exceptions
import requests
from gauntlet_kubeflow.clients.run import LostConnection
from google.api_core import exceptions, operations_v1
from google.protobuf import json_format

from foundation.errors import ConfigError, RunError

SECONDS = 30.0
"""Time in which the service answers a request."""

CLOUD = "https://www.googleapis.com/auth/cloud-platform"

C = TypeVar("C")


def client(kind: type[C], region: str, api_endpoint: str) -> C:
    """A client of one of the services of a region.

    Args:
        kind: client of the library `google.cloud.aiplatform_v1`.
        region: such as europe-west4.
        api_endpoint: address of the service in place of Google's own, or ''.

    Raises:
        ConfigError: there are no credentials.
    """
    endpoint = api_endpoint or f"https://{region}-aiplatform.googleapis.com"
    with answering(endpoint):
        credentials, _ = google.auth.default(scopes=[CLOUD])
        create: Any = kind
        made: Any = create(
            credentials=credentials, transport="rest", client_options={"api_endpoint": endpoint}
        )
    # The generated client asks for long operations under /ui, the documented path is /v1.
    made.transport._operations_client = operations_v1.AbstractOperationsClient(
        transport=operations_v1.OperationsRestTransport(
            host=endpoint, credentials=made.transport._credentials
        )
    )
    return cast(C, made)


@contextlib.contextmanager
def answering(address: str) -> Iterator[None]:
    """A service is asked, and its errors are put in our words.

    Raises:
        ConfigError: credentials, rights or the address are wrong. LostConnection: no answer.
        RunError: the service refuses what is asked.
    """
    try:
        yield
    except google.auth.exceptions.DefaultCredentialsError as error:
        raise ConfigError(
            "there are no credentials of Google Cloud; `gcloud auth application-default login` "
            "makes them, or GOOGLE_APPLICATION_CREDENTIALS names the file of a service account "
            f"({_short(error)})"
        ) from error
    except google.auth.exceptions.GoogleAuthError as error:
        if error.retryable or isinstance(error, google.auth.exceptions.TransportError):
            raise LostConnection(f"no token of Google Cloud: {_short(error)}") from error
        raise ConfigError(
            f"Google Cloud gives no token for your credentials ({_short(error)}); `gcloud auth "
            "application-default login` makes new ones"
        ) from error
    except (exceptions.Unauthorized, exceptions.Forbidden) as error:
        raise ConfigError(
            f"{address} answers {int(error.code)}: {_short(error.message)}; the account of your "
            "credentials needs the role roles/aiplatform.user in this project"
        ) from error
    except (exceptions.ServerError, exceptions.TooManyRequests) as error:
        raise LostConnection(f"{address} answers {_short(error)}") from error
    except exceptions.GoogleAPICallError as error:
        raise RunError(f"{address} answers {_short(error)}") from error
    except requests.exceptions.SSLError as error:
        raise ConfigError(
            f"the certificate of {address} is not trusted ({_short(error)}); name the file of its "
            "authority in REQUESTS_CA_BUNDLE"
        ) from error
    except (requests.exceptions.JSONDecodeError, json_format.ParseError) as error:
        raise foreign(address, _short(error)) from error
    except requests.exceptions.RequestException as error:
        raise LostConnection(f"{address} does not answer: {_short(error)}") from error


def foreign(address: str, said: str = "it names no job, or no state") -> ConfigError:
    """The error for a service that is another one."""
    return ConfigError(f"{address} does not answer as Vertex AI does: {said}")


def check_place(project: str, region: str) -> None:
    """Raises ConfigError unless both are named."""
    for option, value, example in (
        ("project", project, "my-project"),
        ("region", region, "europe-west4"),
    ):
        if not value:
            raise ConfigError(f"--{option} is missing; Vertex AI needs it, such as {example}")


def _short(said: object) -> str:
    """One line; of a nested error the innermost reason."""
    return " ".join(str(said).split())[:300]
