"""The block for an application on Kubernetes that is shut before a database is recovered."""

from __future__ import annotations

from datetime import timedelta
from typing import Literal

from prefect.blocks.core import Block
from pydantic import Field, SecretStr

from squizzle.postgres.secret import Secret
from squizzle.settings.fences import KubernetesSettings


class KubernetesApplication(Block):
    """A Deployment or StatefulSet: scaled to 0 while its database is fenced, and back to what it was.

    Namespace and name have no defaults: a field that is renamed later would otherwise scale something else.
    """

    _block_type_name = "Kubernetes Application"
    _block_type_slug = "kubernetes-application"
    _description = "A Deployment or StatefulSet that is scaled to 0 while its database is recovered."

    namespace: str = Field(title="Namespace", min_length=1, description="Where it is.")
    workload: Literal["deployment", "statefulset"] = Field(
        default="deployment", title="Kind", description="What it is."
    )
    name: str = Field(title="Name", min_length=1, description="What it is called in the namespace.")
    kubeconfig: SecretStr = Field(
        default=SecretStr(""),
        title="Kubeconfig",
        description="The content of the file. Empty: the worker's own, or in a cluster the pod's account.",
    )
    context: str = Field(default="", title="Context", description="Of the kubeconfig. Empty: its current one.")
    pods_gone_seconds: int = Field(
        default=120,
        gt=0,
        title="Patience in seconds",
        description="How long its pods may take to go; more than their terminationGracePeriodSeconds.",
    )

    def settings(self) -> KubernetesSettings:
        """The same without Prefect."""
        kubeconfig = self.kubeconfig.get_secret_value()
        return KubernetesSettings(
            namespace=self.namespace,
            name=self.name,
            workload=self.workload,
            kubeconfig_text=Secret(kubeconfig) if kubeconfig else None,
            context=self.context or None,
            pods_gone=timedelta(seconds=self.pods_gone_seconds),
        )
