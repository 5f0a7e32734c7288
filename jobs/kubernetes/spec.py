"""The file that says what a cluster on Kubernetes is to be: its image, nodes, credentials and queue."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, Field, NonNegativeInt, PositiveFloat, PositiveInt, model_validator

from pixelmill.jobs.documents.faults import KnownKeys
from pixelmill.jobs.kubernetes.names import checked_name
from pixelmill.jobs.spec import Strict

Name = Annotated[str, AfterValidator(checked_name)]
"""A name of a Kubernetes object."""


class Volume(Strict):
    """A persistent volume claim, mounted in every pod."""

    claim: Name
    path: str = Field(pattern=r"^/\S+", description="where the pods see it; the job may name places below")


class HeadSpec(Strict):
    """The head node: it schedules, and computes nothing."""

    cpus: PositiveFloat = 2
    memory_gb: PositiveFloat = 8
    node_selector: dict[str, str] = Field(default_factory=dict[str, str])


class GroupSpec(Strict):
    """Worker nodes of one kind."""

    name: Name = "workers"
    min: NonNegativeInt = Field(0, description="nodes that are always up")
    max: PositiveInt = Field(4, description="most nodes")
    cpus: PositiveInt = Field(8, description="CPUs of each")
    memory_gb: PositiveFloat = Field(32, description="memory of each")
    gpus: NonNegativeInt = Field(0, description="GPUs of each")
    gpu_resource: str = Field("nvidia.com/gpu", description="what the cluster calls its GPUs")
    spot: bool = Field(False, description="whether they may run on nodes that are taken away at any moment")
    labels: dict[str, str] = Field(default_factory=dict[str, str], description="Ray's labels of each (KubeRay 1.5)")
    node_selector: dict[str, str] = Field(default_factory=dict[str, str], description="labels of Kubernetes' nodes")

    @model_validator(mode="after")
    def _in_order(self) -> GroupSpec:
        if self.min > self.max:
            raise ValueError(f"min {self.min} is more than max {self.max}")
        return self


class QueueSpec(Strict):
    """A queue that admits the whole cluster at once; one of the three."""

    kueue: str | None = Field(None, description="a LocalQueue of Kueue")
    volcano: str | None = Field(None, description="a queue of Volcano")
    yunikorn: str | None = Field(None, description="a queue of YuniKorn, such as root.vision")
    priority_class: str | None = None

    @model_validator(mode="after")
    def _one(self) -> QueueSpec:
        given = [name for name in ("kueue", "volcano", "yunikorn") if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError(f"name one queue of kueue, volcano or yunikorn; {', '.join(given) or 'none'} is given")
        return self


def _one_group() -> list[GroupSpec]:
    return [GroupSpec.model_validate({})]


class KubernetesSpec(Strict):
    """Where a job runs on Kubernetes. Everything has a default but the image's registry."""

    name: Name | None = Field(None, description="of the RayJob, at most 47 characters; by default that of the job file")
    namespace: Name = "default"
    image: str | None = Field(
        None, pattern=r"^\S+$", description="the image of every pod; pixelmill:VERSION by default"
    )
    head: HeadSpec = Field(default_factory=lambda: HeadSpec.model_validate({}))
    groups: list[GroupSpec] = Field(default_factory=_one_group, min_length=1)
    secret: Name | None = Field(None, description="a Secret whose keys become variables of every pod")
    service_account: Name | None = Field(None, description="of the Ray pods: IRSA, Pod Identity or Workload Identity")
    volumes: list[Volume] = Field(default_factory=list[Volume])
    queue: QueueSpec | None = None
    retries: NonNegativeInt = Field(
        1, description="new clusters after the loss of one; the driver itself retries its work"
    )
    deadline_s: PositiveInt | None = Field(None, description="after so long KubeRay ends the job; it can be resumed")
    ttl_s: NonNegativeInt = Field(600, description="how long the cluster stays after the end, to look at")
    grace_s: Annotated[int, Field(ge=60)] = Field(
        120, description="between SIGTERM and the kill of a pod; Ray drains for 30 s, a training saves for up to 60"
    )
    time_zone: str | None = Field(None, description="of the schedule, such as Europe/Berlin")
    auth: Literal["token", "disabled"] = Field(
        "token", description="token: Ray serves only callers with its token (KubeRay 1.5.1); disabled: everyone"
    )
    starts_within_s: PositiveInt | None = Field(
        None, description="fail where the cluster is not up after so long (KubeRay 1.6)"
    )

    @model_validator(mode="after")
    def _groups_differ(self) -> KubernetesSpec:
        names = [group.name for group in self.groups]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"two groups are called {', '.join(twice)}; give each a name of its own")
        return self


def known_keys() -> KnownKeys:
    """The keys of the file, for the message about an unknown one."""
    inner = {"head": HeadSpec, "groups": GroupSpec, "queue": QueueSpec, "volumes": Volume}

    def beside(path: list[int | str]) -> list[str]:
        parents = [part for part in path[:-1] if isinstance(part, str)]
        return list((inner.get(parents[-1], KubernetesSpec) if parents else KubernetesSpec).model_fields)

    keys = [f"{path}.{key}" for path, model in inner.items() for key in model.model_fields]
    return KnownKeys(beside, [*KubernetesSpec.model_fields, *keys])
