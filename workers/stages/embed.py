"""Embed: one vector for each picture, from a classification backbone or from the encoder of one of our networks.

Legend: B batch, C channels, H height, W width, D dimension of an embedding.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from pixelmill.workers.models.model_names import DEFAULT_MODEL
from pixelmill.workers.models.tasks import Task
from pixelmill.workers.pictures import Kind
from pixelmill.workers.stages import Milled, StageContext
from pixelmill.workers.stages.model_stage import ModelStageConfig
from pixelmill.workers.stages.shared_runs import SeesOneSize
from pixelmill.workers.stages.vectors import Crops, NumberType, by_shape, vector_column, vector_type

if TYPE_CHECKING:
    from torch import Tensor


MIN_COSINE = 0.999
"""An embedding computed in chosen settings has at least this cosine to the same embedding in eager fp32."""


class EmbedConfig(ModelStageConfig):
    """Embed every picture with an encoder."""

    stage: ClassVar[str] = "embed"
    task: ClassVar[Task] = "embed"
    sees_crops: ClassVar[bool] = True
    takes: ClassVar[frozenset[Kind]] = frozenset({"rgb8", "hu16", "volume"})
    meanings: ClassVar[Mapping[str, str]] = {
        "": "a vector of features, in the network's own units; compare vectors by cosine",
    }

    model: str = Field(
        DEFAULT_MODEL,
        description="torchvision:NAME, torchvision:NAME/WEIGHTS, timm:NAME, FILE.safetensors, or a network that ships; "
        "torchvision:NAME/random is untrained",
    )
    layer: str | None = Field(
        None,
        description="node of the network; when left out, the input of its classifier, or for our networks the last feature "
        "map of the encoder; code: the latent code of an autoencoder or VAE",
    )
    pooling: Literal["auto", "avg", "max", "stats", "cls", "flatten"] = Field(
        "auto",
        description="how a feature map or tokens become one vector; auto: average over space, the first token, or for our "
        "networks mean and deviation over space, or the mean of a VAE's code",
    )
    column: str = Field("embedding", min_length=1, description="name of the output column")
    output: Literal["float32", "float16"] = Field("float32", description="type of the stored numbers")
    precision: Literal["auto", "float32", "bfloat16", "float16"] = Field(
        "auto", description="precision of the computation; auto: the fastest with a cosine of 0.999 or more to float32"
    )

    def columns(self) -> tuple[str, ...]:
        return (self.column,)

    def row_bytes(self, picture_px: int) -> int:
        return 2048 * (4 if self.output == "float32" else 2)

    def note(self) -> str | None:
        """The limits of the default model, for a user who named none."""
        if "model" in self.model_fields_set:
            return None
        return (
            f"no model was named; {DEFAULT_MODEL} is used, which needs no download: it matches colours and textures, "
            "not content; --model torchvision:resnet50 matches content (98 MB are downloaded once)"
        )

    def needs_trial(self) -> bool:
        """Whether the network has the layer, and what a pooling makes of it is a vector."""
        return self.layer is not None or self.pooling != "auto" or super().needs_trial()

    def build(self, context: StageContext) -> Embed:
        return Embed(self, context)


class Embed(SeesOneSize):
    """`run([crop_CHW, ...])` gives fixed_size_list<float32 or float16>[D]; a vector that is not finite is an error."""

    def __init__(self, config: EmbedConfig, context: StageContext) -> None:
        import pyarrow as pa

        from pixelmill.workers.models.backbones import load_backbone
        from pixelmill.workers.runtime.agreement import Cosine

        with config.resolved() as name:
            backbone = load_backbone(name, layer=config.layer, pooling=config.pooling)
        self._output: NumberType = config.output
        self.fields = (pa.field(config.column, vector_type(config.output, backbone.dim)),)
        self.weights_sha256 = backbone.weights_sha256
        key = f"{self.weights_sha256} {config.layer}"
        super().__init__(config.tuned(backbone.network, key, context, Cosine(MIN_COSINE)), backbone.preprocess)

    def run(self, samples: Sequence[Tensor]) -> Milled:
        return self.milled(by_shape(samples, lambda of_one: self.network(Crops(of_one))))

    def milled(self, vectors_BD: Tensor) -> Milled:
        """The column of vectors, with an error for each that is not finite in the stored type."""
        column, errors = vector_column(vectors_BD, self._output, "embed", "embedding")
        return Milled({self.fields[0].name: column}, errors)
