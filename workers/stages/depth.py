"""Depth: the depth of every pixel, by a network that was trained on stereo pairs, or one that predicts metres or inverse depth.

The output is a 16-bit PNG and a scale: value = png * scale, with scale = greatest value / 65535, so that the error of a value is
half a scale at most (0.6 mm at 80 m). Values below half a scale are stored as 0.

Legend: B batch, C channels, H height, W width.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, cast

from pydantic import BaseModel, ConfigDict, Field, PositiveFloat

from pixelmill.workers.errors import ModelError, RowError
from pixelmill.workers.models.depth_facts import DepthFacts, Measure
from pixelmill.workers.models.tasks import Task
from pixelmill.workers.pictures import Kind, Picture
from pixelmill.workers.stages import Deferred, Milled, StageContext
from pixelmill.workers.stages.model_stage import ModelStageConfig
from pixelmill.workers.stages.picture_column import EncodedPicture, picture_field, picture_value
from pixelmill.workers.stages.shared_runs import MakesMaps
from pixelmill.workers.stages.sized import Framed

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    from torch import Tensor

    from pixelmill.workers.models.picture_model import PictureModel

MOST_RELATIVE_ERROR = 0.01
"""Depth in chosen settings against eager fp32: the mean error of a picture, as a share of its mean depth or disparity."""
MOST_SEEN_PIXELS = 1 << 22
"""Pixels of one pass through a network that takes pictures of any size."""

COLUMNS: dict[Measure, str] = {"disparity": "disparity_px", "inverse": "inverse_depth", "metres": "depth_m"}
"""The default name of the column for each measure; a column of such a name may hold no other measure."""
UNITS: dict[Measure, str] = {
    "disparity": "pixels of the picture's width",
    "inverse": "1 / depth up to a scale and a shift",
    "metres": "m",
}


class Camera(BaseModel):
    """Converts disparity to metres: metres = focal_px * baseline_m / disparity in pixels."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    focal_px: PositiveFloat = Field(description="focal length, in pixels of the original pictures")
    baseline_m: PositiveFloat | None = Field(
        None, description="distance between the cameras of the network's training pairs; known for monodepth-kitti"
    )


class DepthConfig(ModelStageConfig):
    """Estimate the depth of every pixel."""

    stage: ClassVar[str] = "depth"
    task: ClassVar[Task] = "depth"
    makes: ClassVar[Kind | None] = "grey16"
    meanings: ClassVar[Mapping[str, str]] = {
        "": "depth or disparity of each pixel: a PNG of 16 bits, times the column NAME_scale",
        "_scale": "the value of one level of the PNG, in its unit",
        "_near": "the least value of the picture, in the PNG's unit",
        "_far": "the greatest value of the picture, in the PNG's unit",
    }

    model: str = Field("monodepth-kitti", description="a network for depth: a file, a folder, or one that ships")
    camera: Camera | None = Field(
        None, description="camera of all pictures; it converts the disparity of a network to metres, 0.001 to 80"
    )
    flip: bool = Field(
        False, description="average with the prediction for the mirror image: more accurate, twice the work"
    )
    column: str | None = Field(
        None,
        min_length=1,
        description="name of the picture's column; disparity_px, inverse_depth or depth_m when left out; the other columns "
        "are NAME_scale, NAME_near and NAME_far",
    )

    def columns(self) -> tuple[str, ...]:
        name = self.known()
        facts = name.depth if name is not None else None
        column = self.column or COLUMNS[self.measure_of(facts or DepthFacts("metres"))]
        return _with_numbers(column)

    @classmethod
    def usual_columns(cls) -> Sequence[str]:
        return tuple(COLUMNS.values())

    def measure_of(self, facts: DepthFacts) -> Measure:
        """The measure that the column holds."""
        return "metres" if self.camera is not None else facts.measure

    def require_fit(self, name: str, facts: DepthFacts | None) -> None:
        """ModelError if camera or column don't fit the measure of the model; None: known only once the model is loaded."""
        if facts is None:
            if self.column is None:
                raise ModelError(
                    f"model {name}: whether it gives metres or inverse depth is known only when it is loaded; give the stage a "
                    "column: depth_m or inverse_depth"
                )
            return
        if self.camera is not None and facts.measure != "disparity":
            raise ModelError(
                f"model {name}: camera makes metres of disparity, and this model gives "
                f"{'metres itself' if facts.measure == 'metres' else 'inverse depth of no unit'}; leave camera out"
            )
        if self.camera is not None and self.camera.baseline_m is None and facts.baseline_m is None:
            raise ModelError(
                f"model {name}: how far apart the cameras of its pairs stood is not known; give camera: baseline_m"
            )
        measure = self.measure_of(facts)
        if self.column in COLUMNS.values() and self.column != COLUMNS[measure]:
            raise ModelError(
                f"model {name}: gives {UNITS[measure]}, and column is {self.column}; call it {COLUMNS[measure]}"
            )

    def note(self) -> str | None:
        if "model" in self.model_fields_set:
            return None
        return f"depth: {self.model} learned from one street of KITTI; of pictures of another kind its depth is a guess"

    def identity(self) -> dict[str, object]:
        with self.resolved() as name:
            self.require_fit(self.model, name.depth)
        identity = super().identity()
        return {
            self.stage: {**cast("dict[str, object]", identity[self.stage]), "camera": self._whole_camera(name.depth)}
        }

    def _whole_camera(self, facts: DepthFacts | None) -> dict[str, object] | None:
        """The camera with the baseline that applies: its own, or the one that is known of the model."""
        if self.camera is None or facts is None:
            return None
        return {"focal_px": self.camera.focal_px, "baseline_m": self.camera.baseline_m or facts.baseline_m}

    def row_bytes(self, picture_px: int) -> int:
        return picture_px * 3 // 2 + 200  # 16-bit values that change slowly

    def build(self, context: StageContext) -> Depth:
        return Depth(self, context)


def _with_numbers(column: str) -> tuple[str, ...]:
    return (column, f"{column}_scale", f"{column}_near", f"{column}_far")


@dataclass(frozen=True)
class _Made:
    """The stored values of one picture."""

    levels_HW: np.ndarray
    scale: float
    near: float
    far: float


class Depth(MakesMaps):
    """`run([prepare(picture), ...])` gives 16-bit PNG with scale, least and greatest value, and pictures grey16."""

    def __init__(self, config: DepthConfig, context: StageContext) -> None:
        from pixelmill.workers.prediction.dense import DensePrediction
        from pixelmill.workers.runtime.agreement import RelativeError

        model = config.loaded()
        assert model.depth is not None
        config.require_fit(config.model, model.depth)
        self._facts, self._camera = model.depth, config.camera
        measure = config.measure_of(model.depth)
        self.fields = _fields(config.column or COLUMNS[measure], UNITS[measure])
        self.weights_sha256 = model.weights_sha256
        model = _flipping(model) if config.flip else model
        key = f"{self.weights_sha256} depth{' flip' if config.flip else ''}"
        network = config.tuned(model.network, key, context, RelativeError(MOST_RELATIVE_ERROR))
        super().__init__(network, DensePrediction(model, network, most_pixels=MOST_SEEN_PIXELS))

    def run(self, samples: Sequence[Framed]) -> Milled:
        return self.milled(
            [self._values(made_1HW) for made_1HW in self._prediction.run([each.seen for each in samples])]
        )

    def _values(self, made_1HW: Tensor) -> Tensor:
        """The network's output at the picture's own size, converted to the unit of the column: HW."""
        from pixelmill.workers.prediction.depth import disparity_to_depth

        width_px = made_1HW.shape[-1]
        if self._camera is not None:
            baseline_m = self._camera.baseline_m or self._facts.baseline_m
            assert baseline_m is not None
            return disparity_to_depth(made_1HW, self._camera.focal_px, baseline_m, width_px)[0]
        return made_1HW[0] * width_px if self._facts.measure == "disparity" else made_1HW[0]

    def milled(self, values: Sequence[Tensor]) -> Milled:
        """The columns for maps of values HW, with an error for each map that is not finite."""
        import pyarrow as pa

        is_finite = [bool(values_HW.isfinite().all()) for values_HW in values]
        errors = {place: _not_finite() for place, finite in enumerate(is_finite) if not finite}
        made = [_stored(values_HW.nan_to_num(0, 0, 0)) for values_HW in values]
        numbers = {
            field.name: pa.array([getattr(each, key) for each in made], pa.float32())
            for field, key in zip(self.fields[1:], ("scale", "near", "far"), strict=True)
        }
        column = Deferred([partial(_encoded, each.levels_HW) for each in made], [each.levels_HW for each in made])
        pictures = [None if place in errors else _picture(each) for place, each in enumerate(made)]
        return Milled({self.fields[0].name: column, **numbers}, errors, pictures)


def _fields(column: str, unit: str) -> tuple[pa.Field[Any], ...]:
    import pyarrow as pa

    picture, *numbers = _with_numbers(column)
    metadata = {"unit": unit, "value": f"png * {picture}_scale"}
    return (picture_field(picture, metadata=metadata), *(pa.field(name, pa.float32()) for name in numbers))


def _flipping(model: PictureModel) -> PictureModel:
    from dataclasses import replace

    from pixelmill.workers.prediction.depth import FlipAveraged

    assert model.depth is not None
    learned_from_pairs = model.depth.measure == "disparity"
    return replace(model, module=FlipAveraged(model.module, learned_from_pairs=learned_from_pairs))


def _stored(values_HW: Tensor) -> _Made:
    from pixelmill.workers.codecs.levels import levels_of

    levels_HW, scale = levels_of(values_HW.clamp_min(0).numpy())
    return _Made(levels_HW, scale, float(values_HW.min()), float(values_HW.max()))


def _picture(made: _Made) -> Picture:
    from pixelmill.workers.typed_torch import from_numpy

    return Picture(from_numpy(made.levels_HW)[None], "grey16")


def _encoded(levels_HW: np.ndarray) -> EncodedPicture:
    from pixelmill.workers.codecs.encode import encode_png16

    return picture_value(encode_png16(levels_HW))


def _not_finite() -> RowError:
    return RowError("depth", "NotFinite", "the depth has a NaN or infinite value")
