"""Synthesize: a picture for every layout, which gives the class of each pixel.

A layout is a picture of class ids (`source.decoder: ids`, or a stage that makes masks), or a picture in the colours of a palette.
It is resized to the network's one input size, ids by nearest neighbour. The result is enlarged to the size of the layout, so that
the two match pixel by pixel, or kept in the network's size (`size: network`).

Legend: H height, W width.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Literal, cast

from pydantic import Field, PositiveInt

from pixelmill.workers.drawn_classes import NEAR_LEVELS, VOID, PaletteOrFile, nearest_ids
from pixelmill.workers.errors import ModelError, RowError
from pixelmill.workers.models.model_names import ModelName, checkpoint_files
from pixelmill.workers.models.tasks import Task
from pixelmill.workers.pictures import Kind, Picture
from pixelmill.workers.small_files import small_text
from pixelmill.workers.stages import StageContext
from pixelmill.workers.stages.encoded_pictures import BYTES_PER_PIXEL, PictureFormat
from pixelmill.workers.stages.model_stage import ModelStageConfig
from pixelmill.workers.stages.plan_lines import plan_lines
from pixelmill.workers.stages.shared_runs import MakesPictures, to_levels

if TYPE_CHECKING:
    from torch import Tensor

    from pixelmill.workers.prediction.dense import Sized

MOST_FOREIGN = 0.5
"""Largest share of a layout's pixels that may have the colour of no class. Among 500 JPEGs of facades, layouts have at most
0.47, and files that show photograph and layout side by side have at least 0.50."""

LEAST_DB = 40.0
"""Least PSNR of a picture in chosen settings against the same picture in eager fp32."""

MOST_PIXELS = 1 << 22


class SynthesizeConfig(ModelStageConfig):
    """Synthesize a picture from every layout."""

    stage: ClassVar[str] = "synthesize"
    task: ClassVar[Task] = "synthesize"
    takes: ClassVar[frozenset[Kind]] = frozenset({"ids8", "rgb8"})
    makes: ClassVar[Kind | None] = "rgb8"
    meanings: ClassVar[Mapping[str, str]] = {"": "a picture made of the layout, in the layout's size or the network's"}

    model: str = Field(
        "crn-facades",
        description="a network that ships, or FILE.safetensors or a folder of crn or crn-labels, local or on a store",
    )
    palette: PaletteOrFile | None = Field(
        None,
        description="colours of the layouts, {NAME: [red, green, blue], ...} in the order of ids, or a JSON file of them; "
        "when left out, the model's own colours",
    )
    tolerance: float = Field(
        NEAR_LEVELS,
        ge=0,
        le=442,
        description="largest distance of a pixel to its class's colour, in levels of 0 to 255",
    )
    size: Literal["layout", "network"] = Field(
        "layout", description="size of the picture: that of its layout, or the network's output size"
    )
    output: PositiveInt = Field(
        1, description="which picture of a network that makes several for a layout (setting outputs), counted from 1"
    )
    column: str = Field("synthesized", min_length=1, description="name of the output column")
    format: PictureFormat = Field("png", description="format of the pictures; jpeg and webp have quality 95")

    added: ClassVar[frozenset[str]] = frozenset({"output"})

    def columns(self) -> tuple[str, ...]:
        return (self.column,)

    def row_bytes(self, picture_px: int) -> int:
        return 200 + int(picture_px * BYTES_PER_PIXEL[self.format])

    def identity(self) -> dict[str, object]:
        with self.resolved() as name:
            self._check_palette(name)
            self._check_output(name)
        return super().identity()

    def class_names(self) -> tuple[str, ...]:
        """Those of the palette, if it is given, which may name the model's classes in other words."""
        return tuple(self.palette) if self.palette is not None else super().class_names()

    def _check_palette(self, name: ModelName) -> None:
        """ModelError if the palette and the network have different numbers of classes."""
        if self.palette is None or name.path is None:
            return
        card = json.loads(small_text(checkpoint_files(name.path)[1]))
        count = cast("int", card["config"].get("classes"))
        if count != len(self.palette):
            raise ModelError(
                f"model {self.model}: knows {count} classes, and palette has {len(self.palette)}; give a colour for each of "
                f"its classes, in their order{_named(card)}"
            )

    def _check_output(self, name: ModelName) -> None:
        """ModelError if the network makes fewer pictures for a layout."""
        if self.output == 1 or name.path is None:
            return
        card = json.loads(small_text(checkpoint_files(name.path)[1]))
        count = cast("int", card["config"].get("outputs", 1))
        if self.output > count:
            raise ModelError(
                f"model {self.model}: makes {count} pictures for a layout, and output is {self.output}; "
                f"set output from 1 to {count}"
            )

    def describe(self, context: StageContext, *, here: bool) -> list[str]:
        with self.resolved() as name:
            lines = plan_lines(name, lambda: self.build(context), here=False)
        return [*lines, f"column {self.column}: {self.format}, in the size of the {self.size}"]

    def build(self, context: StageContext) -> Synthesize:
        return Synthesize(self, context)


def _named(card: dict[str, Any]) -> str:
    classes = card.get("classes")
    return f": {', '.join(classes['names'])}" if classes else ""


class Synthesize(MakesPictures):
    """`run([layout, ...])` returns a picture for each layout, as rgb8 and encoded."""

    def __init__(self, config: SynthesizeConfig, context: StageContext) -> None:
        from pixelmill.workers.models.adapters.synthesis import at_output
        from pixelmill.workers.prediction.dense import DensePrediction
        from pixelmill.workers.runtime.agreement import Decibels

        self._model = config.loaded()
        assert self._model.classes is not None  # every adapter for synthesize states them
        self._config, self._classes = config, self._model.classes
        self._colours = list(config.palette.values()) if config.palette else self._classes.colours
        self.weights_sha256 = self._model.weights_sha256
        key = self.weights_sha256
        if config.output > 1:
            self._model, key = at_output(self._model, config.output - 1), f"{key} output {config.output}"
        network = config.tuned(self._model.network, key, context, Decibels(LEAST_DB))
        prediction = DensePrediction(self._model, network, most_pixels=MOST_PIXELS, per_pixel=to_levels)
        super().__init__(network, prediction, config.column, config.format)

    def prepare(self, picture: Picture) -> Sized:
        ids_1HW = picture.pixels if picture.kind == "ids8" else self._ids_of(picture.pixels)
        self._require_known(ids_1HW)
        if self._config.size == "network":
            ids_1HW = self._in_network_size(ids_1HW)
        return self._prediction.prepare(ids_1HW)

    def _ids_of(self, drawn_3HW: Tensor) -> Tensor:
        """The class ids 1HW of a coloured layout; RowError if too many of its pixels have none of the palette's colours."""
        from pixelmill.workers.typed_torch import from_numpy

        if self._colours is None:
            raise RowError(
                self._config.stage, "NoPalette", "is drawn in colours, and the model names none: set palette"
            )
        ids_HW, foreign = nearest_ids(drawn_3HW.permute(1, 2, 0).numpy(), self._colours, self._config.tolerance)
        if foreign > MOST_FOREIGN:
            raise RowError(
                self._config.stage,
                "NotALayout",
                f"{foreign:.0%} of its pixels have the colour of no class within {self._config.tolerance:g} levels: give layouts "
                "alone, drawn in the colours of palette; class ids are read with source.decoder: ids",
            )
        return from_numpy(ids_HW)[None]

    def _require_known(self, ids_1HW: Tensor) -> None:
        from pixelmill.workers.typed_torch import distinct

        count = len(self._classes.names)
        if strangers := [number for number in distinct(ids_1HW) if number >= count and number != VOID]:
            raise RowError(
                self._config.stage,
                "UnknownClass",
                f"has the ids {strangers[:5]}, and the model knows 0 to {count - 1}, and {VOID} for what is of no class",
            )

    def _in_network_size(self, ids_1HW: Tensor) -> Tensor:
        from pixelmill.workers.prediction.resizing import resized_pixels

        size = self._model.size.resize_px
        return resized_pixels(ids_1HW, size, are_ids=True) if isinstance(size, tuple) else ids_1HW
