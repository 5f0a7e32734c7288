"""Decoding by other nodes in a job file (`run.decode_on`): its keys, and which jobs it is for."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import BaseModel, ConfigDict, Field, NonNegativeFloat, PositiveFloat, PositiveInt, model_validator

from pixelmill.pipelines.bulk.decode_nodes import DecodeNodes
from pixelmill.workers.decoders import decoder_of
from pixelmill.workers.stages import StageConfig
from pixelmill.workers.stages.wiring import names_of


class DecodeOnSpec(BaseModel):
    """Tasks on other nodes of a cluster, which fetch, decode and crop where a worker's own cores can't feed its GPU."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    tasks: PositiveInt = Field(description="tasks at once, for each worker")
    cpus: NonNegativeFloat = Field(1, description="CPUs of each task in Ray")
    resources: dict[str, PositiveFloat] = Field(
        default_factory=dict[str, float],
        description="Ray's custom resources of each task, such as {decoder: 1}; only nodes that were started with them decode",
    )
    label_selector: dict[str, str] = Field(
        default_factory=dict[str, str],
        description="tasks run on nodes with these of Ray's labels; KEY: VALUE, !VALUE, in(A,B) or !in(A,B)",
    )
    in_flight_mb: PositiveInt = Field(
        64, description="most MB of crops of one worker that are made or wait in Ray's object store"
    )

    @model_validator(mode="after")
    def _are_custom(self) -> DecodeOnSpec:
        if known := sorted({"CPU", "GPU", "memory", "object_store_memory"} & set(self.resources)):
            raise ValueError(f"resources: {known[0]} is no custom resource; cpus states the CPUs of a task")
        return self

    def nodes(self) -> DecodeNodes:
        return DecodeNodes(self.tasks, self.cpus, self.resources, self.label_selector, self.in_flight_mb << 20)


def require_crops(configs: Sequence[StageConfig], decoder: str) -> None:
    """ValueError, with the next step, for a stage or a decoder that needs more of an input than a crop of one picture."""
    made = decoder_of(decoder)
    if made.makes_many or made.takes_many or made.fields:
        raise ValueError(
            f"run.decode_on: the decoder {decoder} makes more of an input than one picture; leave run.decode_on out"
        )
    for name, config in zip(names_of(configs), configs, strict=True):
        if not config.sees_crops:
            raise ValueError(
                f"run.decode_on: stage {name} needs whole pictures, and crops alone are sent between nodes; leave "
                f"run.decode_on out, or run {name} as a job of its own"
            )
