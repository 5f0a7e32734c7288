"""Embed: one vector a picture, from any classification backbone or from the encoder of any network of ours.

Legend: B batch, C channels, H height, W width, D dimension of an embedding.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field

from pixelmill.workers.errors import RowError
from pixelmill.workers.models.libraries import resolve
from pixelmill.workers.models.model_names import DEFAULT_MODEL
from pixelmill.workers.pictures import Picture
from pixelmill.workers.stages import Milled, StageContext
from pixelmill.workers.stages.network_options import NetworkStageConfig

if TYPE_CHECKING:
    from torch import Tensor


MIN_COSINE = 0.999
"""An embedding computed in chosen settings has at least this cosine to the same embedding in eager fp32."""


class EmbedConfig(NetworkStageConfig):
    """Embed every picture with an encoder."""

    stage: ClassVar[str] = "embed"

    model: str = Field(
        DEFAULT_MODEL,
        description="torchvision:NAME, torchvision:NAME/WEIGHTS, timm:NAME, FILE.safetensors, or a network that ships; "
        "torchvision:NAME/random is untrained",
    )
    layer: str | None = Field(
        None,
        description="node of the network; when left out the input of its classifier, for ours the last feature map of its "
        "encoder; code: of an autoencoder or VAE",
    )
    pooling: Literal["auto", "avg", "max", "stats", "cls", "flatten"] = Field(
        "auto",
        description="how a feature map or tokens become one vector; auto: average over space, first token, and for ours "
        "mean and deviation over space, or the mean of a VAE's code",
    )
    column: str = Field("embedding", min_length=1, description="name of the output column")
    output: Literal["float32", "float16"] = Field("float32", description="type of the numbers that are stored")
    precision: Literal["auto", "float32", "bfloat16", "float16"] = Field(
        "auto", description="of the computation; auto: the fastest that keeps a cosine of 0.999 to float32"
    )

    def columns(self) -> tuple[str, ...]:
        return (self.column,)

    def row_bytes(self, picture_px: int) -> int:
        return 2048 * (4 if self.output == "float32" else 2)

    def identity(self) -> dict[str, object]:
        options = self.output_options()
        del options["model"]  # by its complete name, or the hash of its weights
        return {self.stage: options | resolve(self.model).identity}

    def note(self) -> str | None:
        """What the default model can't do, for a person who named none."""
        if "model" in self.model_fields_set:
            return None
        return (
            f"no model was named, so {DEFAULT_MODEL} is taken, which needs no download: it finds like colours and textures "
            "and knows nothing of what is shown; --model torchvision:resnet50 does (98 MB are fetched once)"
        )

    def describe(self, context: StageContext, *, here: bool) -> list[str]:
        name = ", ".join(f"{key} {value}" for key, value in resolve(self.model).identity.items())
        if not here:
            return [name, "settings are chosen on the workers when the job starts"]
        embed = self.build(context)
        embed.run([embed.prepare(Picture(noise)) for noise in _noise(embed.batch)])
        lines = [name, f"column {embed.fields[0].name}: {embed.fields[0].type}"]
        lines.append("settings: " + ", ".join(f"{key} {value}" for key, value in embed.settings.items()))
        lines += [f"  tried {trial}" for trial in embed.network.trials()]
        return lines

    def build(self, context: StageContext) -> Embed:
        return Embed(self, context)


class Embed:
    """`run([crop_CHW, ...])` gives fixed_size_list<float32 or float16>[D]; a vector that is not finite is an error."""

    def __init__(self, config: EmbedConfig, context: StageContext) -> None:
        import pyarrow as pa

        from pixelmill.workers.models.backbones import load_backbone
        from pixelmill.workers.runtime.agreement import Cosine

        backbone = load_backbone(resolve(config.model), layer=config.layer, pooling=config.pooling)
        self._preprocess, self._dim = backbone.preprocess, backbone.dim
        self._value_type = pa.float32() if config.output == "float32" else pa.float16()
        self.fields = (pa.field(config.column, pa.list_(self._value_type, backbone.dim)),)
        self.weights_sha256 = backbone.weights_sha256
        key = f"{self.weights_sha256} {config.layer}"
        self.network = config.tuned(backbone.network, key, context, Cosine(MIN_COSINE))

    @property
    def batch(self) -> int:
        return self.network.batch

    @property
    def batch_pixels(self) -> None:
        return None  # every crop has one size

    @property
    def settings(self) -> dict[str, object]:
        return self.network.settings

    def prepare(self, picture: Picture) -> Tensor:
        return self._preprocess.applied_to(picture.pixels)

    def run(self, samples: Sequence[Tensor]) -> Milled:
        import torch

        # As they lie in memory, which is what channels_last wants; stacked as CHW they would be transposed twice.
        images_BCHW = torch.stack([crop_CHW.permute(1, 2, 0) for crop_CHW in samples]).permute(0, 3, 1, 2)
        return self.milled(self.network(images_BCHW))

    def milled(self, vectors_BD: Tensor) -> Milled:
        """The column of these vectors, and an error at the place of each that is not finite in the type that is stored."""
        import pyarrow as pa
        import torch

        vectors_BD = vectors_BD.to(torch.float32 if self._value_type == pa.float32() else torch.float16)
        spoilt_B = ~torch.isfinite(vectors_BD).all(dim=1)
        errors = {
            int(index): RowError(
                "embed", "NotFinite", f"the embedding has a NaN or infinite value as {vectors_BD.dtype}"
            )
            for index in spoilt_B.nonzero()
        }
        values = pa.array(vectors_BD.flatten().numpy(), self._value_type)
        lists: Any = pa.FixedSizeListArray  # its stubs leave the type of the values open
        return Milled({self.fields[0].name: lists.from_arrays(values, self._dim)}, errors)


def _noise(count: int) -> list[Tensor]:
    """Smooth noise, which is nearer to a photograph than white noise is, to try settings on before there is a picture."""
    import torch

    generator = torch.Generator().manual_seed(0)
    coarse_BCHW = torch.rand(count, 3, 16, 16, generator=generator) * 255
    return list(torch.nn.functional.interpolate(coarse_BCHW, (256, 256), mode="bicubic").clamp(0, 255).byte())
