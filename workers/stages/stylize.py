"""Stylize: render every picture in the style of a painting, with a network trained for it or by optimising each picture.

A network takes a fraction of a second for each picture. Optimising for a painting takes minutes (Gatys et al. 2016), which suits
hundreds of pictures, not millions; the stage's settings report the time of one picture and the estimate for the whole job.

Legend: B batch, H height, W width.
"""

from __future__ import annotations

import hashlib
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from io import BufferedReader
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt, model_validator

from pixelmill.workers.codecs.footprint import decode_bytes
from pixelmill.workers.errors import ModelError, RowError
from pixelmill.workers.losses.style_choice import GatysSettings, LossScale
from pixelmill.workers.models.file_contents import require_finite_weights, sha256_of
from pixelmill.workers.models.safetensors_header import require_whole
from pixelmill.workers.models.vgg_names import depth_of, is_published, naming_of, require_layers, require_vgg
from pixelmill.workers.pictures import Kind, Picture
from pixelmill.workers.stages import Stage, StageContext
from pixelmill.workers.stages.assets import AssetKind, is_remote
from pixelmill.workers.stages.encoded_pictures import BYTES_PER_PIXEL, PictureFormat
from pixelmill.workers.stages.network_options import MOST_SIDE_PX, NetworkStageConfig
from pixelmill.workers.stages.plan_lines import plan_lines
from pixelmill.workers.stages.shared_runs import MakesPictures, to_levels
from pixelmill.workers.stages.styles import is_painting, network_of, size_with_shorter_side

if TYPE_CHECKING:
    from pixelmill.workers.prediction.dense import Sized
    from pixelmill.workers.stages.painting import Painter

LayerName = Annotated[str, Field(pattern=r"^((conv|relu)[1-5]_[1-4]|pool[1-5])$")]
"""Layers of VGG, by their names in Caffe."""

PAINTED_PX = 256
"""Default shorter side of a picture that is optimised."""
OF_PAINTINGS = ("vgg", *GatysSettings.model_fields)
"""Keys of the optimisation, which a network does not use."""

LEAST_DB = 40.0
"""Least PSNR of a stylized picture in chosen settings against the same picture in eager fp32."""
MOST_PIXELS = 1 << 21
"""A network gets a larger picture reduced, and its output is enlarged. Memory: 600 bytes a pixel at width 16, 1,200 at 32."""


class StylizeConfig(NetworkStageConfig):
    """Render every picture in a style."""

    stage: ClassVar[str] = "stylize"
    makes: ClassVar[Kind | None] = "rgb8"
    meanings: ClassVar[Mapping[str, str]] = {
        "": "the picture in the style, in its own size or with the shorter side `size_px`"
    }

    style: str = Field(
        "starry-night",
        description="starry-night, the-scream, udnie, wave; FILE.safetensors or a folder of faststyle; or a painting, which is a "
        "picture file, local or on a store",
    )
    size_px: PositiveInt | None = Field(
        None,
        le=MOST_SIDE_PX,
        description="shorter side of the result; left out, a network keeps the picture's own size, and an optimisation takes 256",
    )
    vgg: str | None = Field(
        None,
        description="for a painting: weights of VGG, FILE.safetensors, local or on a store, or "
        "torchvision:VGG19_Weights.IMAGENET1K_V1",
    )
    steps: PositiveInt | None = Field(None, description="for a painting: steps of the optimiser; 500 when left out")
    content_weight: NonNegativeFloat | None = Field(
        None, description="for a painting: weight of the content loss; 1 when left out"
    )
    style_weight: NonNegativeFloat | None = Field(
        None, description="for a painting: weight of the style loss; 10 when left out; higher values keep less content"
    )
    tv_weight: NonNegativeFloat | None = Field(
        None, description="for a painting: weight of total variation; 5 when left out"
    )
    start: Literal["noise", "content"] | None = Field(
        None,
        description="for a painting: the initial picture; noise when left out, content is faster and closer to the picture",
    )
    optimizer: Literal["lbfgs", "adam"] | None = Field(
        None, description="for a painting: the optimiser; lbfgs when left out"
    )
    learning_rate: PositiveFloat | None = Field(
        None, description="for a painting: 1 for lbfgs, 0.02 for adam when left out"
    )
    content_layers: tuple[LayerName, ...] | None = Field(
        None, min_length=1, description="for a painting: relu4_2 of VGG when left out"
    )
    style_layers: tuple[LayerName, ...] | None = Field(
        None, min_length=1, description="for a painting: relu1_1, relu2_1, ... relu5_1 of VGG when left out"
    )
    scale: LossScale | None = Field(None, description="for a painting: how layers are weighted; relative when left out")
    pooling: Literal["max", "average"] | None = Field(
        None, description="for a painting: pooling of VGG; max when left out, the paper prefers average"
    )
    seed: Annotated[int, Field(ge=0)] | None = Field(
        None, description="for a painting: seed of the noise; 0 when left out"
    )
    column: str = Field("stylized", min_length=1, description="name of the output column")
    format: PictureFormat = Field("png", description="format of the pictures; jpeg and webp have quality 95")

    added: ClassVar[frozenset[str]] = frozenset({"pooling"})

    @property
    def is_painting(self) -> bool:
        """Whether the style is a painting and not a network."""
        return is_painting(self.style)

    @model_validator(mode="after")
    def _keys_fit_the_style(self) -> StylizeConfig:
        if self.is_painting and self.vgg is None:
            raise ValueError(
                f"style {self.style} is a painting, which takes VGG weights: set vgg to FILE.safetensors or to "
                "torchvision:VGG19_Weights.IMAGENET1K_V1, or take a style that ships"
            )
        given = [key for key in OF_PAINTINGS if getattr(self, key) is not None]
        if given and not self.is_painting:
            raise ValueError(
                f"{', '.join(given)}: for a painting alone, and style {self.style} is a network, which knows its own; "
                "leave it out, or name a picture file"
            )
        if self.is_painting and not any((self.gatys.content_weight, self.gatys.style_weight, self.gatys.tv_weight)):
            raise ValueError("content_weight, style_weight and tv_weight are all 0, which leaves nothing to optimise")
        if self.is_painting and self.precision not in {"auto", "float32"}:
            raise ValueError(f"precision {self.precision}: pictures are optimised in float32; leave it out")
        return self

    @property
    def gatys(self) -> GatysSettings:
        """The settings of the optimisation, with defaults for keys that are left out."""
        given = {key: getattr(self, key) for key in GatysSettings.model_fields}
        return GatysSettings.model_validate({key: value for key, value in given.items() if value is not None})

    @property
    def painted_px(self) -> int:
        """The shorter side of the picture that is optimised."""
        return self.size_px or PAINTED_PX

    def assets(self) -> Mapping[str, AssetKind]:
        """A painting always, so that workers on other machines have it too; weights if they are on a store."""
        if not self.is_painting:
            return {"style": "checkpoint"} if is_remote(self.style) else {}
        return {"style": "file", "vgg": "file"} if self.vgg and is_remote(self.vgg) else {"style": "file"}

    def columns(self) -> tuple[str, ...]:
        return (self.column,)

    def made_px(self, picture_px: int) -> int:
        size_px = self.size_px or (PAINTED_PX if self.is_painting else None)
        return picture_px if size_px is None else int(size_px**2 * 4 / 3)

    def row_bytes(self, picture_px: int) -> int:
        return 200 + int(self.made_px(picture_px) * BYTES_PER_PIXEL[self.format])

    def identity(self) -> dict[str, object]:
        options = self.output_options()
        if not self.is_painting:
            with self.located("style") as style:
                name = network_of(style)
            return {self.stage: options | {"style": name.identity["model"], "weights_sha256": name.sha256}}
        named = {"style": self._painting_identity(), "vgg": self._vgg_identity(), "size_px": self.painted_px}
        identity = options | self.gatys.model_dump(mode="json") | named
        if self.gatys.pooling == "max":
            del identity["pooling"]  # which earlier versions lack
        return {self.stage: identity}

    @property
    def _layers(self) -> tuple[str, ...]:
        return (*self.gatys.content_layers, *self.gatys.style_layers)

    def _vgg_identity(self) -> str:
        assert self.vgg is not None
        if is_published(self.vgg):
            require_vgg(self.vgg)
            require_layers(self.vgg, 16 if "VGG16" in self.vgg else 19, self._layers)
            return self.vgg
        with self.located("vgg") as place, self._readable("vgg", place) as file:
            names = require_whole(Path(file.name))
            require_finite_weights([Path(file.name)])
            naming_of(self.vgg, names)
            require_layers(self.vgg, depth_of(names), self._layers)
            return f"sha256:{sha256_of(Path(file.name))}"

    def _painting_identity(self) -> str:
        """SHA-256 of the painting's content. ModelError if the file is missing or not a picture."""
        with self.located("style") as place, self._readable("style", place) as file:
            data = file.read()
        try:
            decode_bytes(data)
        except RowError as error:
            raise ModelError(f"style {self.style}: {error}") from error
        return f"sha256:{hashlib.sha256(data).hexdigest()}"

    @contextmanager
    def _readable(self, key: str, place: str) -> Generator[BufferedReader]:
        try:
            with Path(place.removeprefix("file://")).open("rb") as file:
                yield file
        except OSError as error:
            raise ModelError(f"{key} {getattr(self, key)}: can't be read ({error.strerror}); check its name") from error

    def describe(self, context: StageContext, *, here: bool) -> list[str]:
        column = f"column {self.column}: {self.format}, {self._size_in_words()}"
        if not self.is_painting:
            with self.located("style") as style:
                return [*plan_lines(network_of(style), lambda: StyleNetwork(self, context), here=here), column]
        lines = [f"painting {self.style}, {self.gatys.steps:,} steps a picture", column]
        return [*lines, *self._painter(context).foreseen()] if here else lines

    def _size_in_words(self) -> str:
        if self.is_painting or self.size_px is not None:
            return f"shorter side {self.painted_px}"
        return f"in the picture's size; one of more than {MOST_PIXELS / 1e6:.1f} megapixels is painted smaller and enlarged"

    def note(self) -> str | None:
        if not self.is_painting:
            return None
        return (
            f"style {self.style} is a painting: each picture is optimised in {self.gatys.steps:,} steps, which takes minutes on "
            "a CPU; --dry-run measures it, and a style that ships takes less than a second"
        )

    def needs_trial(self) -> bool:
        return not self.is_painting and super().needs_trial()

    def build(self, context: StageContext) -> Stage:
        return self._painter(context) if self.is_painting else StyleNetwork(self, context)

    def _painter(self, context: StageContext) -> Painter:
        from pixelmill.workers.stages.painting import Painter, load_painting

        with self.located("style") as style, self.located("vgg") as vgg:
            painting = load_painting(Path(style), vgg, self.gatys, self.painted_px)
        return Painter(painting, context, self.column, self.format, None if self.batch == "auto" else self.batch)


class StyleNetwork(MakesPictures):
    """`run([picture, ...])` returns each stylized picture as rgb8 and encoded."""

    def __init__(self, config: StylizeConfig, context: StageContext) -> None:
        from pixelmill.workers.models.libraries import load_model
        from pixelmill.workers.prediction.dense import DensePrediction
        from pixelmill.workers.runtime.agreement import Decibels

        with config.located("style") as style:
            model = load_model(network_of(style), "stylize")
        self._size_px = config.size_px
        self.weights_sha256 = model.weights_sha256
        network = config.tuned(model.network, self.weights_sha256, context, Decibels(LEAST_DB))
        prediction = DensePrediction(model, network, most_pixels=MOST_PIXELS, per_pixel=to_levels)
        super().__init__(network, prediction, config.column, config.format)

    def prepare(self, picture: Picture) -> Sized:
        from pixelmill.workers.prediction.resizing import resized_pixels

        if self._size_px is None:
            return self._prediction.prepare(picture.pixels)
        size = size_with_shorter_side(picture.height, picture.width, self._size_px)
        return self._prediction.prepare(resized_pixels(picture.pixels, size, are_ids=False))
