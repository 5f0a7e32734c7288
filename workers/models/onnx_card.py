"""The card beside a network in ONNX: the facts that a stage needs and the ONNX file lacks. Imports no torch."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, PositiveInt, ValidationError, model_validator

from pixelmill.workers.errors import ModelError
from pixelmill.workers.models.normalization import fault_of
from pixelmill.workers.models.tasks import Task, verb

MOST_CARD_BYTES = 1 << 20
MOST_SIDE_PX = 1 << 12
"""Of what a network is tried on when it is loaded; 16,384 took 14 GB and the worker with it."""
Side = Annotated[int, Field(ge=1, le=MOST_SIDE_PX)]
Level = Annotated[int, Field(ge=0, le=255)]
Meaning = Literal["vectors", "logits", "probabilities", "inverse", "metres", "disparity", "unit", "bytes", "signed"]
MEANINGS: dict[Task, tuple[Meaning, ...]] = {
    "embed": ("vectors",),
    "segment": ("logits", "probabilities"),
    "classify": ("logits", "probabilities"),
    "depth": ("inverse", "metres", "disparity"),
    "upscale": ("unit", "bytes", "signed"),
    "stylize": ("unit", "bytes", "signed"),
    "reconstruct": ("unit", "bytes", "signed"),
}
"""The possible meanings of an output's numbers, for each task that a network in ONNX can do.

unit, bytes and signed are pixels in [0, 1], [0, 255] and [-1, 1]; disparity is in fractions of the width.
"""


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class OnnxInput(_Strict):
    """The input of the network: a batch of pictures as float32 BCHW, `((pixels / 255) - mean) / std`."""

    name: str | None = Field(None, description="of the input; may be left out where there is one")
    mean: tuple[float, ...] = Field(
        min_length=1, max_length=3, description="a number for each channel, of pixels in [0, 1]"
    )
    std: tuple[float, ...] = Field(min_length=1, max_length=3)
    size_px: Side | tuple[Side, Side] | None = Field(
        None,
        description="the side, or height and width, that a picture is resized to; left out: the network takes any size",
    )
    resize_px: Side | None = Field(
        None,
        description="embed, classify: the shorter side before the centre crop of size_px; left out: the picture is stretched",
    )
    interpolation: Literal["bilinear", "bicubic"] = "bilinear"
    multiple_px: PositiveInt = Field(1, le=MOST_SIDE_PX, description="what height and width have to be multiples of")
    least_px: PositiveInt = Field(1, le=MOST_SIDE_PX)

    @model_validator(mode="after")
    def _agrees(self) -> OnnxInput:
        if (fault := fault_of(self.mean, self.std)) is not None:
            raise ValueError(fault)
        if self.resize_px is not None and not isinstance(self.size_px, int):
            raise ValueError(
                "resize_px is for a centre crop, whose side is size_px; leave it out and pictures are stretched"
            )
        return self


class OnnxOutput(_Strict):
    """The output of the network."""

    name: str | None = Field(None, description="of the output; may be left out where there is one")
    meaning: Meaning


class QuantizedAgreement(_Strict):
    """How a quantized network agrees with its source in float32, on pictures that it was not calibrated on."""

    measure: str = Field(min_length=1, max_length=64, description="cosine, equal classes, relative error, dB, ...")
    median: float = Field(description="of the pictures")
    worst: float = Field(description="of the pictures; for a share of all of them, the share itself")
    pictures: PositiveInt


class Quantized(_Strict):
    """How a network was quantized, as `pixelmill quantize` records it."""

    numbers: Literal["int8"] = Field(description="of weights and activations")
    source: str = Field(min_length=1, max_length=1000, description="the model that was quantized")
    source_sha256: str = Field(pattern=r"^[0-9a-f]{64}$", description="of its weights")
    calibration_pictures: PositiveInt = Field(description="whose activations gave the ranges")
    calibration_sha256: str = Field(pattern=r"^[0-9a-f]{64}$", description="of these pictures as the network saw them")
    agreement: tuple[QuantizedAgreement, ...] = Field(min_length=1, max_length=8)

    def described(self) -> str:
        """As in `int8, cosine to float32 0.99870 (worst 0.99500) on 256 pictures`."""
        figures = ", ".join(f"{each.measure} to float32 {described_figures(each)}" for each in self.agreement)
        return f"{self.numbers}, {figures} on {self.agreement[0].pictures:,} pictures"


def described_figures(agreement: QuantizedAgreement) -> str:
    """As in `0.99870 (worst 0.99500)`."""
    worst = f" (worst {_figure(agreement.worst)})" if agreement.worst != agreement.median else ""
    return f"{_figure(agreement.median)}{worst}"


def _figure(value: float) -> str:
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.5f}"


class OnnxCard(_Strict):
    """FILE.json beside FILE.onnx."""

    task: Task
    input: OnnxInput
    output: OnnxOutput
    classes: tuple[str, ...] | None = Field(
        None, max_length=1 << 16, description="their names by id; segment, classify"
    )
    colours: tuple[tuple[Level, Level, Level], ...] | None = Field(
        None, max_length=1 << 16, description="red, green and blue of each class, in the order of classes"
    )
    scale: PositiveInt = Field(1, le=16, description="upscale: output pixels for each input pixel, along one side")
    baseline_m: float | None = Field(None, gt=0, description="depth from disparity: metres between the two cameras")
    reach_px: PositiveInt | None = Field(
        None,
        description="how far an output pixel sees, in input pixels, where that has a bound: larger pictures are cut into tiles",
    )
    tiling: Literal["exact", "blended", "refused"] = "refused"
    licence: str | None = Field(None, max_length=200, description="of the weights")
    quantized: Quantized | None = Field(None, description="of a network that `pixelmill quantize` wrote")

    @model_validator(mode="after")
    def _fits_its_task(self) -> OnnxCard:
        meanings = MEANINGS.get(self.task)
        if meanings is None:
            raise ValueError(f"a network in ONNX can't {verb(self.task)} here; it can {', '.join(map(verb, MEANINGS))}")
        if self.output.meaning not in meanings:
            raise ValueError(
                f"output.meaning of a network to {verb(self.task)} is {' or '.join(meanings)}, not {self.output.meaning}"
            )
        if self.task in {"embed", "classify"} and self.input.size_px is None:
            raise ValueError(f"input.size_px is missing: to {self.task}, pictures are resized to one size")
        if self.colours is not None and len(self.colours) != len(self.classes or ()):
            raise ValueError(
                f"{len(self.colours)} colours are stated for {len(self.classes or ())} classes; state one for each"
            )
        if self.tiling == "exact" and self.reach_px is None:
            raise ValueError("tiles are exact where an output pixel sees so far and no farther: state reach_px")
        return self


def read_onnx_card(model: str, file: Path) -> OnnxCard:
    """Read the card of a network. ModelError if it is missing or invalid."""
    try:
        if file.exists() and not file.is_file():
            raise ModelError(f"model {model}: its card {file.name} is no file; write it beside the network")
        with file.open("rb") as opened:
            text = opened.read(MOST_CARD_BYTES + 1)
    except OSError as error:
        raise ModelError(
            f"model {model}: its card {file.name} is missing; write it beside the network (docs/models.md has one for each task)"
        ) from error
    if len(text) > MOST_CARD_BYTES:
        raise ModelError(
            f"model {model}: its card {file.name} has more than {MOST_CARD_BYTES >> 20} MB; a card has a few KB"
        )
    try:
        return OnnxCard.model_validate_json(text)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(map(str, first["loc"])) or "it"
        raise ModelError(f"model {model}: its card {file.name}: {field}: {first['msg']}") from error
