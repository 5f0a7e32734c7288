"""Encode: the latent code of every picture by an autoencoder, with the deviation of each number for a VAE.

Legend: B batch, C channels, H height, W width, D size of a code.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field

from pixelmill.workers.models.model_names import DEFAULT_MODEL
from pixelmill.workers.models.tasks import Task
from pixelmill.workers.stages import Deferred, Milled, StageContext
from pixelmill.workers.stages.model_stage import ModelStageConfig
from pixelmill.workers.stages.shared_runs import SeesOneSize
from pixelmill.workers.stages.vectors import Crops, NumberType, vector_column, vector_type

if TYPE_CHECKING:
    import pyarrow as pa
    from torch import Tensor

    from pixelmill.workers.models.picture_model import PictureModel

MIN_COSINE = 0.999
"""A code computed in chosen settings has at least this cosine to the same code in eager fp32."""


class EncodeConfig(ModelStageConfig):
    """Store the latent code of every picture."""

    stage: ClassVar[str] = "encode"
    task: ClassVar[Task] = "encode"
    sees_crops: ClassVar[bool] = True
    meanings: ClassVar[Mapping[str, str]] = {
        "": "the latent code; of a VAE the mean of its posterior, in deviations of the prior",
        "_deviation": "the standard deviation of the posterior for each number of the code",
    }

    model: str = Field(
        DEFAULT_MODEL, description="an autoencoder or VAE: FILE.safetensors, a folder, or a network that ships"
    )
    column: str = Field("latent", min_length=1, description="name of the output column; a VAE adds NAME_deviation")
    output: Literal["float32", "float16"] = Field("float32", description="type of the stored numbers")

    def columns(self) -> tuple[str, ...]:
        name = self.known()
        deviation = (f"{self.column}_deviation",) if name is not None and name.network == "vae" else ()
        return (self.column, *deviation)

    def row_bytes(self, picture_px: int) -> int:
        return 1024 * (4 if self.output == "float32" else 2)

    def build(self, context: StageContext) -> Encode:
        return Encode(self, context)


class Encode(SeesOneSize):
    """`run([crop_CHW, ...])` returns the code, and for a VAE the deviation of its posterior: fixed_size_list<...>[D]."""

    def __init__(self, config: EncodeConfig, context: StageContext) -> None:
        import pyarrow as pa

        from pixelmill.workers.runtime.agreement import Cosine

        model = config.loaded()
        assert model.preprocess is not None
        self._output: NumberType = config.output
        self.weights_sha256 = model.weights_sha256
        kind = vector_type(config.output, _code_size(model))
        self.fields = tuple(pa.field(name, kind) for name in config.columns())
        network = config.tuned(model.network, f"{self.weights_sha256} encode", context, Cosine(MIN_COSINE))
        super().__init__(network, model.preprocess)

    def run(self, samples: Sequence[Tensor]) -> Milled:
        from torch import Tensor

        outputs = self.network(Crops(samples))
        if isinstance(outputs, Tensor):
            return self.milled(outputs)
        mean_BD, logvar_BD = outputs
        return self.milled(mean_BD, (logvar_BD / 2).exp())

    def milled(self, *vectors: Tensor) -> Milled:
        """A column for each kind of vector, with an error for each picture whose vector is not finite in the stored type."""
        made = [
            vector_column(vectors_BD, self._output, "encode", called)
            for vectors_BD, called in zip(vectors, ("code", "deviation of the code"), strict=False)
        ]
        columns: dict[str, pa.Array[Any] | Deferred] = {
            field.name: column for field, (column, _) in zip(self.fields, made, strict=True)
        }
        return Milled(columns, {place: error for _, errors in reversed(made) for place, error in errors.items()})


def _code_size(model: PictureModel) -> int:
    """The size of a code, found by encoding a blank picture."""
    import torch

    from pixelmill.workers.runtime.outputs import tensors_of

    assert model.preprocess is not None
    with torch.inference_mode():
        outputs = model.module(torch.zeros(1, len(model.mean), *model.preprocess.size_px))
    return tensors_of(outputs)[0].shape[1]
