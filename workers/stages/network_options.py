"""The options of every stage that runs a network: execution settings, set by the user or chosen by a probe."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field, PositiveInt

from pixelmill.workers.stages import StageConfig, StageContext

if TYPE_CHECKING:
    from pixelmill.workers.runtime.agreement import Agreement
    from pixelmill.workers.runtime.execution import PixelNetwork
    from pixelmill.workers.runtime.tuned import TunedNetwork

MOST_SIDE_PX = 1 << 14
"""No stage is asked for a larger side of what a network sees: no picture of it would fit a machine's memory."""


class NetworkStageConfig(StageConfig):
    """A stage with a network. The precision affects the output; the other options affect speed alone."""

    speed_only: ClassVar[frozenset[str]] = frozenset({"batch", "channels_last", "compile", "backend"})

    precision: Literal["auto", "float32", "bfloat16", "float16"] = Field(
        "auto", description="precision of the computation; auto: the fastest within the stage's tolerance to float32"
    )
    batch: PositiveInt | Literal["auto"] = Field("auto", description="pictures in one forward pass")
    channels_last: bool | Literal["auto"] = Field("auto", description="memory format of the network")
    compile: bool | Literal["auto"] = Field("auto", description="torch.compile; auto: in jobs long enough to repay it")

    backend: Literal["auto", "torch", "openvino"] = Field(
        "auto",
        description="what runs the network; auto: OpenVINO (extra cpu) where it is installed, is faster than PyTorch on this "
        "processor, and repays its start in this job",
    )

    def needs_trial(self) -> bool:
        """Not every network computes in every precision, or can be converted for every backend."""
        return self.precision not in {"auto", "float32"} or self.backend == "openvino"

    def tuned(self, network: PixelNetwork, key: str, context: StageContext, agreement: Agreement) -> TunedNetwork:
        """The network with settings that follow these options on this worker; `key` identifies the network and its weights.

        ModelError if the network does not compute correctly in the requested precision.
        """
        from pixelmill.workers.errors import ModelError
        from pixelmill.workers.runtime.backend_trial import why_not
        from pixelmill.workers.runtime.settings import Pins, Settings
        from pixelmill.workers.runtime.tuned import TunedNetwork

        if self.precision not in {"auto", *network.precisions}:
            known = ", ".join(network.precisions)
            raise ModelError(
                f"{self.stage}: its model does not compute in {self.precision}; precision: {known} or auto"
            )
        if self.backend == "openvino" and (fault := why_not(network, context.device, self.precision)) is not None:
            raise ModelError(f"{self.stage}: backend openvino {fault}; backend: torch or auto")
        pins = Pins(
            precision=None if self.precision == "auto" else self.precision,
            channels_last=None if self.channels_last == "auto" else self.channels_last,
            microbatch=None if self.batch == "auto" else self.batch,
            compile=None if self.compile == "auto" else self.compile,
            backend=None if self.backend == "auto" else self.backend,
        )
        return TunedNetwork(
            network,
            key,
            base=Settings(device=context.device, threads=context.threads),
            pins=pins,
            agreement=agreement,
            cache_dir=context.cache_dir,
            job_images=context.job_images,
            batch_bytes=context.batch_bytes,
            gpu_part=context.gpu_part,
        )
