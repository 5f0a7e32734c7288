"""Embed: one vector a picture, from any classification backbone or from an encoder that was trained here.

Legend: B batch, C channels, H height, W width, D dimension of an embedding.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field, PositiveInt

from pixelmill.workers.errors import RowError
from pixelmill.workers.models.model_names import DEFAULT_MODEL, resolve
from pixelmill.workers.pictures import Picture
from pixelmill.workers.stages import Milled, StageConfig, StageContext

if TYPE_CHECKING:
    from torch import Tensor

    from pixelmill.workers.runtime.execution import Choice


class EmbedConfig(StageConfig):
    """Embed every picture with an encoder."""

    stage: ClassVar[str] = "embed"
    speed_only: ClassVar[frozenset[str]] = frozenset({"batch", "channels_last", "compile"})

    model: str = Field(
        DEFAULT_MODEL,
        description="torchvision:NAME, torchvision:NAME/WEIGHTS, timm:NAME, FILE.safetensors, or a network that ships; "
        "torchvision:NAME/random is untrained",
    )
    layer: str | None = Field(None, description="node of the network; the input of its classifier when left out")
    pooling: Literal["auto", "avg", "max", "stats", "cls", "flatten"] = Field(
        "auto",
        description="how a feature map or tokens become one vector; auto: average over space, first token, and for ours "
        "mean and deviation over space",
    )
    column: str = Field("embedding", min_length=1, description="name of the output column")
    output: Literal["float32", "float16"] = Field("float32", description="type of the numbers that are stored")
    precision: Literal["auto", "float32", "bfloat16", "float16"] = Field(
        "auto", description="of the computation; auto: the fastest that keeps a cosine of 0.999 to float32"
    )
    batch: PositiveInt | Literal["auto"] = Field("auto", description="pictures in one forward pass")
    channels_last: bool | Literal["auto"] = Field("auto", description="memory format of the network")
    compile: bool | Literal["auto"] = Field("auto", description="torch.compile; auto: where the job repays it")

    def columns(self) -> tuple[str, ...]:
        return (self.column,)

    def row_bytes(self) -> int:
        return 2048 * (4 if self.output == "float32" else 2)

    def identity(self) -> dict[str, object]:
        options = self.output_options()
        del options["model"]  # by its complete name, or the hash of its weights
        return {self.stage: options | resolve(self.model).identity}

    def describe(self, context: StageContext, *, here: bool) -> list[str]:
        name = ", ".join(f"{key} {value}" for key, value in resolve(self.model).identity.items())
        if not here:
            return [name, "settings are chosen on the workers when the job starts"]
        embed = self.build(context)
        embed.run([embed.prepare(Picture(noise)) for noise in _noise(embed.batch)])
        lines = [name, f"column {embed.fields[0].name}: {embed.fields[0].type}"]
        lines.append("settings: " + ", ".join(f"{key} {value}" for key, value in embed.settings.items()))
        for trial in embed.choice.trials if embed.choice else ():
            tried = trial.settings
            lines.append(
                f"  tried {tried.precision}, {'channels_last' if tried.channels_last else 'contiguous'}, batch "
                f"{tried.microbatch}: {trial.images_per_s:,.1f} images/s a worker, cosine {trial.min_cosine:.5f}"
            )
        return lines

    def build(self, context: StageContext) -> Embed:
        return Embed(self, context)


class Embed:
    """`run([crop_CHW, ...])` gives fixed_size_list<float32 or float16>[D]; a vector that is not finite is an error."""

    def __init__(self, config: EmbedConfig, context: StageContext) -> None:
        import pyarrow as pa

        from pixelmill.workers.models import backbones
        from pixelmill.workers.runtime import execution

        self.name = config.stage
        self._backbone = backbones.load_backbone(resolve(config.model), layer=config.layer, pooling=config.pooling)
        self._value_type = pa.float32() if config.output == "float32" else pa.float16()
        self.fields = (pa.field(config.column, pa.list_(self._value_type, self._backbone.dim)),)
        self.weights_sha256 = self._backbone.weights_sha256
        self._context = context
        self._pins = execution.Pins(
            precision=None if config.precision == "auto" else config.precision,
            channels_last=None if config.channels_last == "auto" else config.channels_last,
            microbatch=None if config.batch == "auto" else config.batch,
            compile=None if config.compile == "auto" else config.compile,
        )
        self._base = execution.Settings(device=context.device, threads=context.threads)
        self._cache = context.cache_dir and execution.cache_file(
            context.cache_dir, f"{self.weights_sha256} {config.layer}", context.device, context.threads, self._pins
        )
        self._choice: Choice | None = None
        self._executor: execution.Executor | None = None

    @property
    def batch(self) -> int:
        settings = self._executor.settings if self._executor else self._base
        return settings.microbatch

    @property
    def settings(self) -> dict[str, object]:
        if self._choice is None or self._executor is None:
            return {}
        return {**asdict(self._executor.settings), "chosen": self._choice.source}

    @property
    def choice(self) -> Choice | None:
        """The settings with every trial behind them; None before the first batch."""
        return self._choice

    @property
    def batch_pixels(self) -> None:
        return None  # every crop has one size

    def prepare(self, picture: Picture) -> Tensor:
        from pixelmill.workers.geometry.resize import center_crop, resize_shorter_side

        preprocess = self._backbone.preprocess
        resized_CHW = resize_shorter_side(picture.pixels, preprocess.resize_px, preprocess.interpolation, exact=False)
        return center_crop(resized_CHW, preprocess.crop_px)

    def run(self, samples: Sequence[Tensor]) -> Milled:
        import pyarrow as pa
        import torch

        # As they lie in memory, which is what channels_last wants; stacked as CHW they would be transposed twice.
        images_BCHW = torch.stack([crop_CHW.permute(1, 2, 0) for crop_CHW in samples]).permute(0, 3, 1, 2)
        vectors_BD = self._execute(images_BCHW).to(torch.float32 if self._value_type == pa.float32() else torch.float16)
        finite_B = torch.isfinite(vectors_BD).all(dim=1).tolist()
        errors = {
            index: RowError(self.name, "NotFinite", f"the embedding has a NaN or infinite value as {vectors_BD.dtype}")
            for index, finite in enumerate(finite_B)
            if not finite
        }
        values = pa.array(vectors_BD.flatten().numpy(), self._value_type)
        return Milled({self.fields[0].name: pa.FixedSizeListArray.from_arrays(values, self._backbone.dim)}, errors)

    def _execute(self, images_BCHW: Tensor) -> Tensor:
        from pixelmill.workers.runtime import execution

        if self._executor is None:
            self._choice = execution.choose(
                self._backbone.network,
                images_BCHW,
                base=self._base,
                pins=self._pins,
                cache=self._cache,
                job_images=self._context.job_images,
            )
            self._executor = execution.Executor(self._backbone.network, self._choice.settings)
        return self._executor(images_BCHW)


def _noise(count: int) -> list[Tensor]:
    """Smooth noise, which is nearer to a photograph than white noise is, to try settings on before there is a picture."""
    import torch

    generator = torch.Generator().manual_seed(0)
    coarse_BCHW = torch.rand(count, 3, 16, 16, generator=generator) * 255
    return list(torch.nn.functional.interpolate(coarse_BCHW, (256, 256), mode="bicubic").clamp(0, 255).byte())
