"""As much of a Kubernetes cluster as a fence needs: one workload, its pods, and what scales it by itself.

Deployments and StatefulSets are changed themselves and not through `/scale`: so number and annotation are one request,
which happens or does not, and 0 is 0 (of a Scale with 0 replicas the API leaves the number out).
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from squizzle.disturbance import disturb_cluster
from squizzle.errors import FencingFailedError, FencingUnavailableError, InvalidInputError
from squizzle.settings.fences import KubernetesSettings

if TYPE_CHECKING:
    from kubernetes.client import ApiClient

# For one answer; a busy API server needs a second.
_ANSWER_S = 20.0
_MERGE_PATCH = "application/merge-patch+json"
_OVER = frozenset({"Succeeded", "Failed"})
# What the settings call them: the kind in documents, and the name in the client's methods.
WORKLOADS = {"deployment": ("Deployment", "deployment"), "statefulset": ("StatefulSet", "stateful_set")}
# What one role must allow; in messages and in docs/fences.md.
RIGHTS = "get and patch on it, list on pods, and list on horizontalpodautoscalers"


class StaleError(Exception):
    """Somebody has changed the workload since it was read (HTTP 409)."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Workload:
    """A Deployment or StatefulSet as it was read.

    Attributes:
        version: Its `resourceVersion`; a change that names an older one is refused.
        replicas: How many are asked for.
        is_settled: Whether its controller has seen that, and there are as many.
        annotations: All of them.
        selector: Of its pods.
    """

    version: str
    replicas: int
    is_settled: bool
    annotations: dict[str, str]
    selector: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Autoscaler:
    """A HorizontalPodAutoscaler of the workload."""

    name: str
    least: int
    most: int


class Cluster:
    """One workload, through the API server. Every method asks once and has a deadline.

    Raises (all methods):
        FencingUnavailableError: Out of reach, or busy.
        FencingFailedError: Refused: no such workload, no right.
    """

    def __init__(self, client: ApiClient, settings: KubernetesSettings) -> None:
        from kubernetes.client import AppsV1Api, AutoscalingV2Api, CoreV1Api  # noqa: PLC0415 - an optional extra

        self._apps = AppsV1Api(client)
        self._core = CoreV1Api(client)
        self._scaling = AutoscalingV2Api(client)
        self._settings = settings
        self._kind, self._method = WORKLOADS[settings.workload]
        self.thing = f"kubernetes {settings.workload} {settings.namespace}/{settings.name}"

    def read(self) -> Workload:
        """The workload now."""
        found = self._ask(getattr(self._apps, f"read_namespaced_{self._method}"), "read", self._settings.name)
        metadata, spec, status = found["metadata"], found["spec"], found.get("status", {})
        wanted = spec.get("replicas", 1)
        has_seen = status.get("observedGeneration", 0) >= metadata.get("generation", 0)
        return Workload(
            version=metadata["resourceVersion"],
            replicas=wanted,
            is_settled=has_seen and status.get("replicas", 0) == wanted,
            annotations=metadata.get("annotations", {}),
            selector=_selector_text(spec["selector"]),
        )

    def change(self, version: str, *, replicas: int | None, annotations: dict[str, str | None]) -> None:
        """Change number and annotations in one request; None leaves the number, or removes the annotation.

        Raises:
            StaleError: It was changed since that version was read; nothing was changed.
        """
        body: dict[str, Any] = {"metadata": {"resourceVersion": version, "annotations": annotations}}
        if replicas is not None:
            body["spec"] = {"replicas": replicas}
        call = getattr(self._apps, f"patch_namespaced_{self._method}")
        self._ask(call, "patch", self._settings.name, body=body, _content_type=_MERGE_PATCH)

    def pods(self, selector: str) -> tuple[str, ...]:
        """The names of the workload's pods that still run or are about to; those that are told to end run, too."""
        found = self._ask(self._core.list_namespaced_pod, "list pods of", label_selector=selector)
        pods = found.get("items") or ()
        return tuple(sorted(one["metadata"]["name"] for one in pods if one["status"].get("phase") not in _OVER))

    def autoscalers(self) -> tuple[Autoscaler, ...]:
        """What scales it by itself."""
        found = self._ask(self._scaling.list_namespaced_horizontal_pod_autoscaler, "list autoscalers of")
        mine = (self._kind, self._settings.name)
        return tuple(
            Autoscaler(
                name=one["metadata"]["name"],
                least=one["spec"].get("minReplicas", 1),
                most=one["spec"]["maxReplicas"],
            )
            for one in found.get("items") or ()
            if (one["spec"]["scaleTargetRef"]["kind"], one["spec"]["scaleTargetRef"]["name"]) == mine
        )

    def _ask(self, call: Callable[..., Any], doing: str, *names: str, **given: object) -> Any:
        from kubernetes.client.exceptions import ApiException  # noqa: PLC0415 - an optional extra
        from urllib3.exceptions import HTTPError  # noqa: PLC0415 - same

        try:
            disturb_cluster(doing)
            # Undecoded: the client's own models refuse documents of servers that are newer or older than it is.
            answer = call(*names, self._settings.namespace, _request_timeout=_ANSWER_S, _preload_content=False, **given)
            return json.loads(answer.data)
        except ValueError as exc:
            raise FencingFailedError(
                f"could not {doing} {self.thing}: what answers speaks no JSON, so it is no API server",
                hint="check the server's address in the kubeconfig, and proxies in between",
            ) from exc
        except ApiException as exc:
            raise self._translated(exc, doing) from exc
        except HTTPError as exc:
            raise FencingUnavailableError(
                f"could not {doing} {self.thing}: no answer from the API server ({type(exc).__name__}); a change"
                " that was asked for may or may not have been made",
                hint="run the same again: it looks first what is there",
            ) from exc

    def _translated(self, exc: Any, doing: str) -> Exception:
        status = int(exc.status or 0)
        message = f"could not {doing} {self.thing}: {_words(exc)} ({status})"
        match status:
            case 401:
                return FencingFailedError(message, hint="renew the credentials of the kubeconfig")
            case 403:
                return FencingFailedError(message, hint=f"a role must allow {RIGHTS}: see docs/fences.md")
            case 404:
                return FencingFailedError(message, hint="check namespace, name and context; `kubectl get deployments`")
            case 409:
                return StaleError(message)
            case 0 | 408 | 429 | 500 | 502 | 503 | 504:
                return FencingUnavailableError(message, hint="run the same again: it looks first what is there")
            case _:
                return FencingFailedError(message, hint="mend what it complains about, then run the same again")


@contextmanager
def open_cluster(settings: KubernetesSettings) -> Iterator[Cluster]:
    """The API server that the settings name. Nothing is asked yet.

    Raises:
        InvalidInputError: The client is not installed, or the kubeconfig cannot be used.
    """
    try:
        from kubernetes.config import ConfigException  # noqa: PLC0415 - an optional extra
        from yaml import YAMLError  # noqa: PLC0415 - comes with it
    except ImportError as exc:
        raise InvalidInputError(
            "the client for Kubernetes is not installed", hint="pip install 'squizzle[kubernetes]'"
        ) from exc
    try:
        client = _client(settings)
    except (ConfigException, YAMLError, OSError, ValueError, KeyError, TypeError) as exc:
        # "from None": what cannot be parsed holds tokens, and the parser may repeat it.
        raise InvalidInputError(
            f"the kubeconfig for {settings.namespace}/{settings.name} cannot be used ({type(exc).__name__})",
            hint="check it with `kubectl config view`, and its contexts with `kubectl config get-contexts`",
        ) from None
    with client:
        yield Cluster(client, settings)


def _client(settings: KubernetesSettings) -> ApiClient:
    from kubernetes import client, config  # noqa: PLC0415 - an optional extra
    from yaml import safe_load  # noqa: PLC0415 - comes with it

    if settings.kubeconfig_text is not None:
        content = safe_load(settings.kubeconfig_text.reveal())
        return config.new_client_from_config_dict(content, context=settings.context)
    if settings.kubeconfig is None and "KUBECONFIG" not in os.environ and "KUBERNETES_SERVICE_HOST" in os.environ:
        inside = client.Configuration()
        config.load_incluster_config(client_configuration=inside)
        return client.ApiClient(inside)
    file = str(settings.kubeconfig) if settings.kubeconfig else None
    return config.new_client_from_config(config_file=file, context=settings.context)


def _selector_text(selector: dict[str, Any]) -> str:
    """A label selector as a query (Kubernetes, "Labels and Selectors")."""
    parts = [f"{name}={value}" for name, value in sorted(selector.get("matchLabels", {}).items())]
    for one in selector.get("matchExpressions", ()):
        key, values = one["key"], ",".join(one.get("values") or ())
        texts = {"In": f"{key} in ({values})", "NotIn": f"{key} notin ({values})", "Exists": key}
        parts.append(texts.get(one["operator"], f"!{key}"))
    return ",".join(parts)


def _words(exc: Any) -> str:
    try:
        words = json.loads(exc.body)["message"]
    except (TypeError, ValueError, KeyError):
        words = exc.reason
    return str(words or "no reason given")
