"""Segment: the class of every pixel, as a mask of ids in the picture's own size.

Legend: C channels, H height, W width.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from pydantic import Field, PositiveInt

from pixelmill.workers.errors import ModelError, RowError
from pixelmill.workers.models.tasks import Task
from pixelmill.workers.pictures import Kind, Picture
from pixelmill.workers.stages import Deferred, Milled, StageContext
from pixelmill.workers.stages.mask_encoding import ENCODINGS, Encoding, class_metadata
from pixelmill.workers.stages.model_stage import ModelStageConfig
from pixelmill.workers.stages.network_options import MOST_SIDE_PX
from pixelmill.workers.stages.shared_runs import MakesMaps
from pixelmill.workers.stages.sized import Framed

if TYPE_CHECKING:
    import pyarrow as pa
    from torch import Tensor

    from pixelmill.workers.models.picture_model import Classes, PictureModel
    from pixelmill.workers.prediction.averaging import Averaging

DEFAULT_COLUMN = "mask"
MOST_CLASSES = 256
"""An id takes one byte of the mask."""
MOST_PIXELS = 1 << 22
"""Most pixels of a picture that passes through the network in one piece."""
USUAL_CLASSES = 21


class SegmentConfig(ModelStageConfig):
    """Label every pixel with its class."""

    stage: ClassVar[str] = "segment"
    task: ClassVar[Task] = "segment"
    takes: ClassVar[frozenset[Kind]] = frozenset({"rgb8", "hu16"})
    makes: ClassVar[Kind | None] = "ids8"
    meanings: ClassVar[Mapping[str, str]] = {
        "": "the class of each pixel: ids from 0 as a PNG of 8 bits, or as run lengths; metadata `classes` names them",
        "class_fraction": "the share of the pixels that each class has, 0 to 1, in the order of ids",
        "_fraction": "the share of the pixels that each class has, 0 to 1, in the order of ids",
        "_confidence": "the mean over the pixels of the probability of the chosen class, 0 to 1",
    }

    model: str = Field(
        "segnet-camvid",
        description="a network that ships (segnet-camvid, fcn8s-camvid, unet-camvid), FILE.safetensors or the folder of a "
        "training, local or on a store, torchvision:NAME such as torchvision:deeplabv3_resnet50, or a model of another library; "
        "torchvision:NAME/random is untrained",
    )
    column: str = Field(
        DEFAULT_COLUMN,
        min_length=1,
        description="name of the column of masks; mask adds class_fraction and mask_confidence, another NAME adds "
        "NAME_fraction and NAME_confidence",
    )
    encoding: Encoding = Field(
        "png",
        description="encoding of masks: png, a picture of ids with a palette; rle, COCO's run lengths of each class",
    )

    resize_px: PositiveInt | None = Field(
        None,
        le=MOST_SIDE_PX,
        description="shorter side of the network's input, such as that of its training pictures; masks keep the picture's "
        "size; when left out, the size that the model was published with, or for our networks the picture's own",
    )

    flip: bool = Field(False, description="average with the prediction for the mirror image: twice the work")
    scales: Annotated[tuple[Annotated[float, Field(ge=0.1, le=8)], ...], Field(min_length=1)] = Field(
        (1.0,), description="sizes to average over, as factors of the network's input, such as [0.75, 1, 1.25]"
    )
    window_px: Annotated[int, Field(ge=16, le=MOST_SIDE_PX)] | None = Field(
        None,
        description="side of the windows in which the network sees a picture, such as its training crop; none: whole",
    )
    overlap: float = Field(0.5, ge=0, le=0.9, description="share of a window by which it overlaps the next")

    added: ClassVar[frozenset[str]] = frozenset({"flip", "scales", "window_px", "overlap"})

    @property
    def averaging(self) -> Averaging:
        """What the network's prediction is averaged over."""
        from pixelmill.workers.prediction.averaging import Averaging

        return Averaging(self.flip, self.scales, self.window_px, self.overlap)

    def columns(self) -> tuple[str, ...]:
        if self.column == DEFAULT_COLUMN:
            return (self.column, "class_fraction", "mask_confidence")
        return (self.column, f"{self.column}_fraction", f"{self.column}_confidence")

    def row_bytes(self, picture_px: int) -> int:
        return picture_px // 16 + 4 * USUAL_CLASSES + 512

    def build(self, context: StageContext) -> Segment:
        return Segment(self, context)


class Segment(MakesMaps):
    """`run` returns masks in the size of the pictures, the share of each class, and the mean confidence of the network.

    If the output has the picture's size and its tiles are exact, softmax and maximum are computed on the network's device, which
    returns 4 bytes a pixel. Otherwise the logits are enlarged or blended, and the classes are computed from them strip by strip:
    enlarging ids instead would turn each pixel of the output into a block.
    """

    def __init__(self, config: SegmentConfig, context: StageContext) -> None:
        from pixelmill.workers.prediction.dense import DensePrediction, as_it_is
        from pixelmill.workers.prediction.labels import LabelAgreement, Labels, labels_of
        from pixelmill.workers.prediction.slices import SlicePrediction
        from pixelmill.workers.runtime.agreement import MaskAgreement

        model = config.loaded()
        if config.resize_px is not None:
            _require_free_size(config.model, model)
            model = replace(model, size=replace(model.size, resize_px=config.resize_px))
        self._classes = _shown(config.model, model)
        averaging = config.averaging
        model = model if averaging.is_plain else _averaged(model, averaging)
        self._encoding = ENCODINGS[config.encoding]
        self.fields = self._fields(config.columns())
        self.weights_sha256 = model.weights_sha256
        is_labelled = model.size.tiling == "exact" and model.size.resize_px is None
        model = replace(model, module=Labels(model.module)) if is_labelled else model
        key = f"{self.weights_sha256} {'labels' if is_labelled else 'logits'}"
        key += "" if averaging.is_plain else f" {averaging}"
        network = config.tuned(model.network, key, context, LabelAgreement() if is_labelled else MaskAgreement())
        if model.preprocess is not None:
            super().__init__(network, SlicePrediction(model.preprocess, network))
            return
        per_pixel = as_it_is if is_labelled else labels_of
        super().__init__(network, DensePrediction(model, network, most_pixels=MOST_PIXELS, per_pixel=per_pixel))

    def _fields(self, names: Sequence[str]) -> tuple[pa.Field[Any], ...]:
        import pyarrow as pa

        mask, fraction, confidence = names
        stated = class_metadata(self._classes)
        fractions = pa.field(fraction, pa.list_(pa.float32()), metadata={"classes": stated["classes"]})
        return self._encoding.field(mask, stated), fractions, pa.field(confidence, pa.float32())

    def run(self, samples: Sequence[Framed]) -> Milled:
        labels = self._prediction.run([sample.seen for sample in samples])
        masks = [labels_CHW[:1].byte() for labels_CHW in labels]
        errors = {place: _not_finite() for place, labels_CHW in enumerate(labels) if int(labels_CHW[1].min()) < 0}
        columns = self._columns(masks, [labels_CHW[1] for labels_CHW in labels])
        pictures = [None if place in errors else Picture(mask_1HW, "ids8") for place, mask_1HW in enumerate(masks)]
        return Milled(columns, errors, pictures)

    def _columns(self, masks: Sequence[Tensor], confidences: Sequence[Tensor]) -> dict[str, pa.Array[Any] | Deferred]:
        import pyarrow as pa

        from pixelmill.workers.prediction.labels import mean_confidence, shares_of

        colours = self._classes.colours or ()
        jobs = [partial(self._encoding.encoded, mask_1HW[0].numpy(), colours) for mask_1HW in masks]
        shares = [shares_of(mask_1HW, len(self._classes.names)) for mask_1HW in masks]
        mask, fraction, confidence = (field.name for field in self.fields)
        return {
            mask: Deferred(jobs, masks),
            fraction: pa.array(shares, pa.list_(pa.float32())),
            confidence: pa.array([mean_confidence(levels_HW) for levels_HW in confidences], pa.float32()),
        }


def _require_free_size(name: str, model: PictureModel) -> None:
    if model.preprocess is not None:
        raise ModelError(
            f"model {name}: sees every slice at {model.preprocess.size_px[0]} px, as its card says; leave resize_px out"
        )


def _averaged(model: PictureModel, averaging: Averaging) -> PictureModel:
    """The model with its predictions averaged; tiles are then blended, since a mirrored or resized tile has another grid."""
    from pixelmill.workers.prediction.averaging import LogShares

    size = model.size if model.size.tiling == "refused" else replace(model.size, tiling="blended")
    module = LogShares(model.module, averaging, multiple_px=size.multiple_px, least_px=size.least_px)
    return replace(model, module=module, size=size)


def _shown(name: str, model: PictureModel) -> Classes:
    """The classes with a colour for each; ModelError if their number is unknown or larger than the ids of a byte."""
    from pixelmill.workers.models.palette import class_colours
    from pixelmill.workers.models.picture_model import Classes

    if model.classes is None:
        raise ModelError(f"model {name}: does not state its classes; choose one that does")
    names = model.classes.names
    if len(names) > MOST_CLASSES:
        raise ModelError(
            f"model {name}: has {len(names)} classes, and a mask of 8 bits holds {MOST_CLASSES}; choose one with fewer"
        )
    return Classes(names, model.classes.colours or class_colours(names))


def _not_finite() -> RowError:
    return RowError("segment", "NotFinite", "the network gave a NaN or infinite score for a pixel")
