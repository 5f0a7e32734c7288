"""Train FCN, SegNet and U-Net: cross-entropy of every labelled pixel, judged by one confusion matrix over all pictures.

A label is a picture of class ids. Pixels of the ignored id, and all that an augmentation brings in from outside of a
picture, are void: no loss, no metric. The loss is summed over labelled pixels and divided by all, labelled or not, so
that it means the same for a batch and for its parts on many machines.

The papers' learning rates belong to losses of their own scale; the defaults here are for this one. U-Net's elastic
deformations and its weights for borders between cells, which need instances, are left out.

Legend: B batch, N pictures, C channels, H height, W width, K classes, D random draws.
"""

from __future__ import annotations

import io
import json
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, cast

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from PIL import Image
from PIL.PngImagePlugin import PngImageFile
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    JsonValue,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    ValidationError,
)
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.swa_utils import update_bn

from pixelmill.workers.codecs.decode import decode_picture
from pixelmill.workers.errors import DataError, ModelError, RowError
from pixelmill.workers.networks.fcn import Fcn, FcnConfig, FcnUpsampling
from pixelmill.workers.networks.segnet import SegNet, SegNetConfig
from pixelmill.workers.networks.unet import UNet, UNetConfig, mirrored, predict_tiled
from pixelmill.workers.networks.upsample import Upsampling
from pixelmill.workers.networks.vgg import (
    ConventionName,
    LoadReport,
    VggWeights,
    find_published,
    is_published,
    read_vgg,
)
from pixelmill.workers.recipes import Batch, RecipeSettings, Sample, config_from

VOID = 255
MOST_CLASSES = VOID
DRAWS = 5  # random numbers for each sample: mirror, scale, row, column, brightness
PNG_MAGIC = b"\x89PNG\r\n\x1a\n"

Size = tuple[PositiveInt, PositiveInt]
Fraction = Annotated[float, Field(ge=0, lt=1)]


# --------------------------------------------------------------------------------------------------------- settings


class LabelledSettings(RecipeSettings):
    """How labelled pictures are read, augmented and weighed. Sizes are height, width.

    `classes` and `ignore_index` are those of classes.json where they are not given, `class_names` too. `map_ids` puts one
    id in the place of another when labels are read, as {255: 1}. `turned_labels` says how labels lie of pictures that EXIF
    turns: as such a picture is shown, or as its pixels are stored. `size_px` is what pictures are
    resized to when they are read; `crop_px` what a training step sees of one, at a scale drawn between `scales`.
    `brightness` is the most that a picture is made brighter or darker by, as a share.
    """

    classes: Annotated[int, Field(ge=2, le=MOST_CLASSES)] | None = None
    class_names: Annotated[tuple[str, ...], Field(min_length=2, max_length=MOST_CLASSES)] | None = None
    ignore_index: Annotated[int, Field(ge=0, le=65535)] | None = None
    map_ids: dict[Annotated[int, Field(ge=0, le=65535)], Annotated[int, Field(ge=0, le=65535)]] | None = None
    turned_labels: Literal["shown", "stored"] | None = None
    class_weights: Literal["median", "none"] | tuple[Annotated[float, Field(ge=0)], ...] = "none"
    size_px: Size | None = None
    crop_px: Size | None = None
    flip: bool = True
    scales: tuple[PositiveFloat, PositiveFloat] = (1.0, 1.0)
    brightness: Fraction = 0.0


class SegmentationSettings(LabelledSettings):
    """What FCN, SegNet and U-Net have in common.

    `step_at` are the shares of the training after which schedule "step" multiplies the rate with `step_factor`.
    """

    learning_rate: PositiveFloat = 0.01
    optimizer: Literal["sgd", "adamw"] = "sgd"
    momentum: Fraction = 0.9
    weight_decay: Annotated[float, Field(ge=0)] = 5e-4
    schedule: Literal["constant", "poly", "step"] = "constant"
    poly_power: PositiveFloat = 0.9
    step_at: tuple[Fraction, ...] = (0.6, 0.85)
    step_factor: Annotated[float, Field(gt=0, le=1)] = 0.1
    warmup_steps: NonNegativeInt = 0


class TrunkSettings(SegmentationSettings):
    """`vgg` names VGG-16 weights to start from, `trunk_rate` is the trunk's share of the learning rate.

    `vgg` is a safetensors file or torchvision:VGG16_Weights.IMAGENET1K_V1. `vgg_convention` is for a file whose
    preprocessing can't be told from the names in it.
    """

    vgg: str | None = None
    vgg_convention: ConventionName | None = None
    trunk_rate: Annotated[float, Field(ge=0)] = 1.0
    width: PositiveInt = 64


class FcnSettings(TrunkSettings):
    """The paper's network at stride 8, 20 pictures a step, a constant rate of 1e-4."""

    batch: PositiveInt = 20
    learning_rate: PositiveFloat = 1e-4
    skips: tuple[int, ...] = (3, 4)
    fc_width: PositiveInt = 4096
    skip_scales: tuple[PositiveFloat, ...] | None = None
    dropout: Fraction = 0.5
    padding: Literal["same", "caffe"] = "same"
    upsampling: FcnUpsampling = "fixed"


class SegNetSettings(TrunkSettings):
    """The paper's network, 12 pictures a step at a constant 0.1, classes weighted by median frequency."""

    batch: PositiveInt = 12
    learning_rate: PositiveFloat = 0.1
    class_weights: Literal["median", "none"] | tuple[Annotated[float, Field(ge=0)], ...] = "median"
    variant: Literal["vgg16", "basic"] = "vgg16"
    decoder: Literal["mirror", "single"] = "mirror"
    upsampling: Upsampling = "unpool"


class UNetSettings(SegmentationSettings):
    """The paper's network: valid convolutions, one picture a step with momentum 0.99."""

    batch: PositiveInt = 1
    learning_rate: PositiveFloat = 1e-3
    momentum: Fraction = 0.99
    weight_decay: Annotated[float, Field(ge=0)] = 0.0
    base: PositiveInt = 64
    levels: PositiveInt = 4
    padding: Literal["valid", "same"] = "valid"
    upsampling: Upsampling = "transposed_k2"
    skips: tuple[int, ...] | None = None
    dropout: Fraction = 0.5
    batch_norm: bool = False
    tile_px: PositiveInt = 388


# ----------------------------------------------------------------------------------------------------------- labels


class ClassList(BaseModel):
    """classes.json: the names by id, and the id that stands for no class."""

    model_config = ConfigDict(frozen=True)

    classes: Annotated[tuple[str, ...], Field(min_length=2, max_length=MOST_CLASSES)]
    ignore_index: Annotated[int, Field(ge=0, le=65535)] | None = None


class LabelFacts(BaseModel):
    """What the training labels hold, by class: its pixels, and the labelled pixels of the pictures that show it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    class_names: tuple[str, ...]
    pixels: tuple[NonNegativeInt, ...]
    seen_pixels: tuple[NonNegativeInt, ...]
    ignore_index: NonNegativeInt | None = None

    def median_weights(self) -> tuple[float, ...]:
        """Median frequency balancing (Eigen & Fergus 2015): the median class weighs 1, one never shown 0."""
        frequencies = [own / seen if seen else 0.0 for own, seen in zip(self.pixels, self.seen_pixels, strict=True)]
        median = float(np.median([frequency for frequency in frequencies if frequency > 0]))
        return tuple(median / frequency if frequency > 0 else 0.0 for frequency in frequencies)


@lru_cache(maxsize=8)
def _class_list(data: bytes) -> ClassList:
    try:
        return ClassList.model_validate_json(data)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(map(str, first["loc"])) or "JSON"
        raise DataError(
            f'classes.json: {field}: {first["msg"]}; write {{"classes": [names], "ignore_index": id}}'
        ) from error


def read_ids(data: bytes) -> np.ndarray:
    """The class ids HW that a grey or palette PNG stores; DataError for what can't hold ids.

    A palette's ids are its indices, not its colours. Everything else that reads pictures would turn them into colours,
    and keep the high byte of 16 bits.
    """
    if not data.startswith(PNG_MAGIC):
        raise DataError("the label is no PNG, and other formats may change ids: save it as a grey or palette PNG")
    try:
        decode_picture(data)  # refuses a file that is cut or damaged
    except RowError as error:
        raise DataError(f"the label can't be read: {error}") from error
    bits, colour = data[24], data[25]  # of IHDR
    if colour not in (0, 3) or (colour == 0 and bits < 8):
        kind = "colours" if colour in (2, 6) else f"{bits}-bit grey levels"
        raise DataError(f"the label holds {kind}, not class ids: save the ids as a grey or palette PNG of 8 bits")
    return np.asarray(PngImageFile(io.BytesIO(data)))


def _to_void(ids_HW: np.ndarray, classes: int, ignore_index: int | None) -> np.ndarray:
    """uint8 HW: 0 to K - 1, or VOID where the id is the ignored one; DataError for every other id."""
    found = np.unique(ids_HW)
    if strangers := [int(number) for number in found if number >= classes and number != ignore_index]:
        ignored = "" if ignore_index is None else f" and {ignore_index} (ignored)"
        raise DataError(
            f"the label holds the ids {strangers[:5]}, but there are only 0 to {classes - 1}{ignored}: "
            f"{_what_to_do([int(number) for number in found], strangers, classes)}"
        )
    if ignore_index is None:
        return ids_HW.astype(np.uint8)
    return np.where(ids_HW == ignore_index, VOID, ids_HW).astype(np.uint8)


def _what_to_do(found: list[int], strangers: list[int], classes: int) -> str:
    """How labels with these ids are made to fit; not to be misled: an ignored class is never learned."""
    if classes == 2 and set(found) <= {0, 255}:
        return "a mask of black and white has 255 for its class 1: write 1 for 255, or set map_ids to {255: 1}"
    if strangers == [255]:
        return "where 255 stands for no class, set ignore_index to 255; where it is one, write its number"
    return "correct the label, set classes, or give the right ids with map_ids"


def _mapped(ids_HW: np.ndarray, changes: Mapping[int, int] | None) -> np.ndarray:
    if not changes:
        return ids_HW
    table = np.arange(65536, dtype=np.uint16)
    table[list(changes)] = list(changes.values())
    return table[ids_HW]


ORIENTATION_TAG = 0x0112
TURNS: dict[int, Callable[[np.ndarray], np.ndarray]] = {
    2: lambda ids_HW: ids_HW[:, ::-1],
    3: lambda ids_HW: ids_HW[::-1, ::-1],
    4: lambda ids_HW: ids_HW[::-1],
    5: lambda ids_HW: ids_HW.T,
    6: lambda ids_HW: np.rot90(ids_HW, -1),
    7: lambda ids_HW: ids_HW[::-1, ::-1].T,
    8: lambda ids_HW: np.rot90(ids_HW),
}
"""What a viewer does with stored pixels, by EXIF orientation."""


def orientation_of(data: bytes) -> int:
    """The EXIF orientation of a picture, 1 where it is shown as it is stored."""
    try:
        with Image.open(io.BytesIO(data)) as picture:
            found = picture.getexif().get(ORIENTATION_TAG, 1)
    except Exception:  # a broken EXIF block turns nothing
        return 1
    return found if found in TURNS else 1


def as_shown(label_HW: np.ndarray, picture_HW: tuple[int, ...], orientation: int, lies: str | None) -> np.ndarray:
    """The label as its picture is shown; DataError where it has another size, or where nothing tells how it lies."""
    turned_HW = label_HW if orientation == 1 else TURNS[orientation](label_HW)
    fits = {"shown": label_HW.shape == picture_HW, "stored": turned_HW.shape == picture_HW}
    if orientation == 1 or lies is not None:
        if fits[lies or "shown"]:
            return turned_HW if lies == "stored" else label_HW
    elif fits["shown"] and not fits["stored"]:
        return label_HW
    raise DataError(_misfit(label_HW.shape, picture_HW, orientation, all(fits.values()), fits["stored"]))


def _misfit(label_HW: tuple[int, ...], picture_HW: tuple[int, ...], turn: int, is_open: bool, is_stored: bool) -> str:
    label, picture = ("x".join(map(str, reversed(each))) for each in (label_HW, picture_HW))
    if turn == 1:
        return f"the label has {label} px and its picture {picture}; make them the same size"
    fact = (
        f"EXIF turns the picture (orientation {turn}), which is {picture} px as it is shown, and its label is {label}"
    )
    if is_open:
        return (
            f"{fact}: set turned_labels to shown where labels were drawn on pictures as a viewer shows them, or to stored "
            "where they lie as the pixels are stored"
        )
    if is_stored:
        return f"{fact}, as the pixels are stored: set turned_labels to stored, or turn the label"
    return f"{fact}; make them the same size"


def _unequal(sizes: Iterable[tuple[int, ...]]) -> DataError:
    several = ", ".join(sorted("x".join(map(str, reversed(size))) for size in sizes))
    return DataError(f"pictures of {several} px don't fit into one batch; set crop_px or size_px, or take batch 1")


def _names(sample: Sample) -> tuple[str, ...]:
    return tuple(json.loads(sample["classes"].tobytes()))


# ------------------------------------------------------------------------------------------------------ augmentation


def window(side_px: int, kept_px: int, scale: float, margin_px: int, draw: float) -> tuple[np.ndarray, np.ndarray]:
    """Along one axis, the pixels of a randomly placed window and which of them are inside: `draw` in [0, 1) places it.

    The window is as long as will be `kept_px` with a margin on both sides once it is scaled. Outside of the picture
    is its mirror image.
    """
    length, margin = max(round(kept_px / scale), 1), round(margin_px / scale)
    slack = side_px - length
    start = int(draw * (abs(slack) + 1)) + min(slack, 0)
    places = np.arange(start - margin, start + length + margin)
    folded = np.abs(places) % max(2 * side_px - 2, 1)
    return np.minimum(folded, 2 * side_px - 2 - folded) if side_px > 1 else 0 * places, (places >= 0) & (
        places < side_px
    )


def nearest_places(length: int, kept: int) -> np.ndarray:
    """Which of `length` cells lies under the centre of each of `kept` ones that cover the same ground."""
    return ((np.arange(kept) + 0.5) * length / kept).astype(int)


def _cut(
    sample: Sample, kept_HW: tuple[int, int], margin_px: int, scale: float, draws: tuple[float, float]
) -> tuple[Tensor, np.ndarray]:
    """A window of picture (float CHW in [0, 1], with the margin) and label (HW, without), on the same grid."""
    rows, rows_inside = window(sample["label"].shape[0], kept_HW[0], scale, margin_px, draws[0])
    columns, columns_inside = window(sample["label"].shape[1], kept_HW[1], scale, margin_px, draws[1])
    image_CHW = torch.from_numpy(sample["image"][np.ix_(rows, columns)]).permute(2, 0, 1)
    label_HW = np.where(np.outer(rows_inside, columns_inside), sample["label"][np.ix_(rows, columns)], VOID)
    height, width = (kept + 2 * margin_px for kept in kept_HW)
    if (len(rows), len(columns)) != (height, width):
        image_CHW = _resized(image_CHW, (height, width))
        label_HW = label_HW[np.ix_(nearest_places(len(rows), height), nearest_places(len(columns), width))]
    return image_CHW.float() / 255, label_HW[margin_px : height - margin_px, margin_px : width - margin_px]


def _resized(image_CHW: Tensor, size_HW: tuple[int, int]) -> Tensor:
    """uint8 pixels, antialiased bilinear with half-pixel centres, to go with `nearest_places` for the label."""
    return F.interpolate(image_CHW[None], size_HW, mode="bilinear", align_corners=False, antialias=True)[0]


# ---------------------------------------------------------------------------------------------------------- metrics


def scores(confusion_KK: Tensor, names: Sequence[str]) -> dict[str, float]:
    """Metrics of one confusion matrix (true class down, predicted across) over all pixels that count.

    miou is the mean over classes that occur, as truth or prediction; class_accuracy over those that occur as truth.
    Never a mean over pictures, in which a class that is not there would count as a failure or a success.
    """
    confusion_KK = confusion_KK.double()
    right_K, true_K, said_K = confusion_KK.diagonal(), confusion_KK.sum(1), confusion_KK.sum(0)
    union_K = true_K + said_K - right_K
    if not true_K.any():
        raise DataError("no pixel of the held-out labels counts: all are ignored; take other pictures")
    iou_K = right_K / union_K
    metrics = {
        "miou": iou_K[union_K > 0].mean().item(),
        "pixel_accuracy": (right_K.sum() / true_K.sum()).item(),
        "class_accuracy": (right_K / true_K)[true_K > 0].mean().item(),
    }
    return metrics | {f"iou_{name}": iou_K[k].item() for k, name in enumerate(names) if union_K[k] > 0}


# ---------------------------------------------------------------------------------------------------------- colours

CAMVID_COLOURS: dict[str, tuple[int, int, int]] = {
    "sky": (128, 128, 128),
    "building": (128, 0, 0),
    "pole": (192, 192, 128),
    "road": (128, 64, 128),
    "pavement": (60, 40, 222),
    "tree": (128, 128, 0),
    "sign_symbol": (192, 128, 128),
    "fence": (64, 64, 128),
    "car": (64, 0, 128),
    "pedestrian": (64, 64, 0),
    "bicyclist": (0, 128, 192),
}


def palette(names: Sequence[str]) -> np.ndarray:
    """Red, green and blue by id, uint8 (256, 3): CamVid's for its classes, Pascal VOC's for others, black for void."""
    colours = np.zeros((256, 3), np.uint8)
    for number, name in enumerate(names):
        colours[number] = CAMVID_COLOURS.get(name, _voc_colour(number + 1))
    return colours


def _voc_colour(number: int) -> tuple[int, int, int]:
    """The number's bits dealt out to the three channels in turn, the first to the highest bits."""
    levels = [0, 0, 0]
    for bit in range(8):
        levels[bit % 3] |= (number >> bit & 1) << (7 - bit // 3)
    return levels[0], levels[1], levels[2]


# ----------------------------------------------------------------------------------------------------------- recipes


class _Segmentation:
    """All but the network. `prepare` or `restore` comes before `network`: the labels say how many classes there are."""

    LAYOUT: ClassVar[Literal["masks"]] = "masks"
    JUDGED_WITH: ClassVar[tuple[str, ...]] = ()
    GOAL: ClassVar[tuple[str, Literal["min", "max"]]] = ("miou", "max")

    def __init__(self, settings: Any, assets: Mapping[str, Path]) -> None:
        self.settings = settings
        self.assets = assets
        self.report: LoadReport | None = None
        """What came of the weights that the network starts from; None where it starts from none."""
        self._facts: LabelFacts | None = None
        if settings.scales[0] > settings.scales[1]:
            raise ModelError(f"scales: {settings.scales} has to be (smallest, largest)")

    # Data

    def decode(self, files: Mapping[str, bytes]) -> Sample:
        """image (HWC), label (HW, ids or VOID), classes (the names as JSON) and the ignored id, resized to `size_px`."""
        names, ignore_index = self._classes(files.get("classes"))
        if "label" not in files:
            raise DataError("the picture has no label; put a PNG of class ids of the same name among the labels")
        try:
            image_CHW = decode_picture(files["image"])
        except RowError as error:
            raise DataError(str(error)) from error
        ids_HW = _mapped(read_ids(files["label"]), self.settings.map_ids)
        orientation = orientation_of(files["image"])
        ids_HW = as_shown(ids_HW, tuple(image_CHW.shape[1:]), orientation, self.settings.turned_labels)
        label_HW = _to_void(ids_HW, len(names), ignore_index)
        size_HW = self.settings.size_px or label_HW.shape
        if size_HW != label_HW.shape:
            image_CHW = _resized(image_CHW, size_HW)
            rows, columns = (nearest_places(*sides) for sides in zip(label_HW.shape, size_HW, strict=True))
            label_HW = label_HW[np.ix_(rows, columns)]
        image_HWC = np.ascontiguousarray(image_CHW.permute(1, 2, 0).numpy())
        facts = {"classes": names, "ignored": [] if ignore_index is None else [ignore_index]}
        return {"image": image_HWC, "label": label_HW} | {
            name: np.frombuffer(json.dumps(fact).encode(), np.uint8) for name, fact in facts.items()
        }

    def _classes(self, data: bytes | None) -> tuple[tuple[str, ...], int | None]:
        """Names and the ignored id; the settings' numbers come before those of classes.json."""
        count, ignore_index, named = self.settings.classes, self.settings.ignore_index, self.settings.class_names
        if data is None and named is not None:
            return named, ignore_index
        if data is None:
            if count is None:
                raise DataError("how many classes there are is not known: add classes.json, or set classes")
            return tuple(f"class_{number}" for number in range(count)), ignore_index
        listed = _class_list(data)
        if count is not None and count != len(listed.classes):
            raise DataError(f"classes is {count}, but classes.json names {len(listed.classes)}; take one of them out")
        return listed.classes, listed.ignore_index if ignore_index is None else ignore_index

    def check(self, samples: Sequence[Sample], together: int) -> None:
        """What a few samples tell before a training: whether they fit into batches, and the settings to their classes."""
        sizes = {self._grid(self.settings.crop_px or sample["label"].shape)[0] for sample in samples}
        if together > 1 and len(sizes) > 1:
            raise _unequal(sizes)
        names = _names(samples[0])
        self._facts = LabelFacts(class_names=names, pixels=(1,) * len(names), seen_pixels=(1,) * len(names))
        self.class_weights()
        self._check_network()

    def network(self) -> nn.Module:
        raise NotImplementedError

    def _check_network(self) -> None:
        self.network()

    def prepare(self, samples: Iterable[Sample]) -> dict[str, JsonValue]:
        """Count the training labels, before `network` and `losses`; the counts, for a later `restore`."""
        names: tuple[str, ...] | None = None
        ignored: list[int] = []
        pixels_K = seen_K = np.zeros(VOID, np.int64)
        for sample in samples:
            if names is not None and _names(sample) != names:
                raise DataError("pictures of one data set have different classes.json; take one list for all")
            names = _names(sample)
            ignored = json.loads(sample["ignored"].tobytes()) if "ignored" in sample else []
            counts_K = np.bincount(sample["label"].ravel(), minlength=VOID + 1)[:VOID]
            pixels_K, seen_K = pixels_K + counts_K, seen_K + counts_K.sum() * (counts_K > 0)
        if names is None or not pixels_K.any():
            raise DataError(
                "no pixel of the training labels counts: there is nothing to learn from; check ignore_index"
            )
        count = len(names)
        facts = LabelFacts(
            class_names=names,
            pixels=pixels_K[:count].tolist(),
            seen_pixels=seen_K[:count].tolist(),
            ignore_index=ignored[0] if ignored else None,
        )
        self._facts = facts
        return facts.model_dump(mode="json")

    def restore(self, prepared: dict[str, JsonValue]) -> None:
        """What `prepare` gave in the run that goes on."""
        self._facts = LabelFacts.model_validate(prepared)

    @property
    def class_count(self) -> int:
        if self._facts is not None:
            return len(self._facts.class_names)
        if self.settings.classes is None:
            raise ModelError("how many classes there are is not known before `prepare` has counted the labels")
        return self.settings.classes

    def batch(self, samples: Sequence[Sample], random: np.random.Generator) -> Batch:
        """images (BCHW in [0, 1]) and labels (BHW, ids or VOID); with valid convolutions images have a margin."""
        pairs = [self._augment(sample, random.random(DRAWS)) for sample in samples]
        if len(sizes := {label_HW.shape for _, label_HW in pairs}) > 1:
            raise _unequal(sizes)
        images_BCHW = torch.stack([image_CHW for image_CHW, _ in pairs]).contiguous(memory_format=torch.channels_last)
        labels_BHW = torch.from_numpy(np.stack([label_HW for _, label_HW in pairs])).long()
        return {"images": images_BCHW, "labels": labels_BHW}

    def _augment(self, sample: Sample, draws_D: np.ndarray) -> tuple[Tensor, np.ndarray]:
        settings = self.settings
        mirror, scale, row, column, brightness = draws_D.tolist()
        low, high = map(math.log, settings.scales)
        kept_HW, margin_px = self._grid(settings.crop_px or sample["label"].shape)
        image_CHW, label_HW = _cut(sample, kept_HW, margin_px, math.exp(low + scale * (high - low)), (row, column))
        if settings.flip and mirror < 0.5:
            image_CHW, label_HW = image_CHW.flip(2), label_HW[:, ::-1]
        factor = 1 + settings.brightness * (2 * brightness - 1)
        return (image_CHW * factor).clamp(max=1), label_HW

    def _grid(self, size_HW: tuple[int, int]) -> tuple[tuple[int, int], int]:
        """The size of labels, at least `size_HW`, that the network has logits for, and the margin that it needs around."""
        return size_HW, 0

    # Training

    def optimizer(self, network: nn.Module) -> Optimizer:
        settings, trunk = self.settings, self._trunk(network)
        in_trunk = {id(parameter) for parameter in trunk.parameters()} if trunk else set()
        rest = [parameter for parameter in network.parameters() if id(parameter) not in in_trunk]
        groups: list[dict[str, Any]] = [{"params": rest, "lr": settings.learning_rate}]
        if trunk:
            groups.append({"params": list(trunk.parameters()), "lr": settings.learning_rate * settings.trunk_rate})
        if settings.optimizer == "adamw":
            return torch.optim.AdamW(groups, weight_decay=settings.weight_decay)
        return torch.optim.SGD(groups, momentum=settings.momentum, weight_decay=settings.weight_decay)

    def _trunk(self, network: nn.Module) -> nn.Module | None:
        """The part of the network that learns at a rate of its own."""
        return None

    def rate(self, step: int, steps: int) -> float:
        settings = self.settings
        warmup = min(1.0, (step + 1) / (settings.warmup_steps + 1))
        if settings.schedule == "poly":
            return warmup * (1 - step / steps) ** settings.poly_power
        if settings.schedule == "step":
            return warmup * settings.step_factor ** sum(step >= share * steps for share in settings.step_at)
        return warmup

    def losses(self, network: nn.Module, batch: Batch) -> dict[str, Tensor]:
        logits_BKHW = network(batch["images"]).float()
        weights_K = torch.tensor(self.class_weights(), device=logits_BKHW.device)
        losses_BHW = F.cross_entropy(logits_BKHW, batch["labels"], weights_K, ignore_index=VOID, reduction="none")
        return {"loss": losses_BHW.mean()}

    def class_weights(self) -> tuple[float, ...]:
        """What a pixel of each class counts."""
        chosen = self.settings.class_weights
        if chosen == "none":
            return (1.0,) * self.class_count
        if chosen == "median":
            if self._facts is None:
                raise ModelError("class_weights median needs the labels counted: `prepare` comes before `losses`")
            return self._facts.median_weights()
        if len(chosen) != self.class_count:
            raise ModelError(f"class_weights are {len(chosen)} for {self.class_count} classes; give one for each")
        return chosen

    def finish(self, network: nn.Module, samples: Iterable[Sample]) -> None:
        """Statistics of batch normalisation from whole training pictures and the weights as they are now.

        Those gathered on the way are of weights that are gone, and of crops. Does nothing where there are none.
        """
        device = next(network.parameters()).device
        with self._autocast(device):
            batches = (self._images(batch, device) for batch in self._batches(samples))
            update_bn((self._extended(images_BCHW) for images_BCHW in batches), network)

    # Judging

    def evaluate(self, network: nn.Module, samples: Iterable[Sample]) -> dict[str, float]:
        """miou, pixel_accuracy, class_accuracy and iou_NAME of whole pictures, see `scores`."""
        from torchmetrics.functional.classification import multiclass_confusion_matrix

        device = next(network.parameters()).device
        confusion_KK, names = torch.zeros((), dtype=torch.long, device=device), ()
        for batch in self._batches(samples):
            names = self._names_for(network, batch[0])
            labels_BHW = torch.from_numpy(np.stack([sample["label"] for sample in batch])).to(device).long()
            ids_BHW = self.predict(network, self._images(batch, device))
            confusion_KK = confusion_KK + multiclass_confusion_matrix(
                ids_BHW, labels_BHW, len(names), ignore_index=VOID, validate_args=False
            )
        if not names:
            raise DataError("there are no held-out pictures to judge the network by")
        return scores(confusion_KK.cpu(), names)

    def predict(self, network: nn.Module, images_BCHW: Tensor) -> Tensor:
        """Class ids BHW of pictures in [0, 1], of their own size."""
        with self._autocast(images_BCHW.device):
            return self._logits(network, images_BCHW).argmax(1)

    def _logits(self, network: nn.Module, images_BCHW: Tensor) -> Tensor:
        return network(images_BCHW)

    def _extended(self, images_BCHW: Tensor) -> Tensor:
        """Pictures as the network takes whole ones."""
        return images_BCHW

    def _autocast(self, device: torch.device) -> torch.autocast:
        return torch.autocast(device.type, torch.bfloat16, enabled=self.settings.precision == "bfloat16")

    def _batches(self, samples: Iterable[Sample]) -> Iterator[list[Sample]]:
        """Neighbours of the same size, `settings.batch` at most."""
        gathered: list[Sample] = []
        for sample in samples:
            if gathered and (
                len(gathered) == self.settings.batch or sample["image"].shape != gathered[0]["image"].shape
            ):
                yield gathered
                gathered = []
            gathered.append(sample)
        if gathered:
            yield gathered

    def _images(self, samples: Sequence[Sample], device: torch.device) -> Tensor:
        pixels_BHWC = torch.from_numpy(np.stack([sample["image"] for sample in samples])).to(device)
        return pixels_BHWC.permute(0, 3, 1, 2).float() / 255  # channels last in memory, as they lay

    def _names_for(self, network: nn.Module, sample: Sample) -> tuple[str, ...]:
        names, count = _names(sample), cast(Any, network).config.classes
        if len(names) != count:
            raise DataError(f"the labels have {len(names)} classes and the network {count}; take labels of its classes")
        return names

    def pictures(self, network: nn.Module, samples: Sequence[Sample]) -> Tensor:
        """Rows of picture, truth and prediction; void is black."""
        device = next(network.parameters()).device
        rows: list[Tensor] = []
        for sample in samples:
            colours = palette(_names(sample))
            said_HW = self.predict(network, self._images([sample], device))[0].cpu().numpy()
            row_HWC = np.concatenate([sample["image"], colours[sample["label"]], colours[said_HW]], axis=1)
            row_CHW = torch.from_numpy(row_HWC).permute(2, 0, 1)
            rows.append(
                row_CHW
                if not rows or row_CHW.shape == rows[0].shape
                else _resized(row_CHW, (rows[0].shape[1], rows[0].shape[2]))
            )
        return torch.cat(rows, dim=1)


class _FromVgg(_Segmentation):
    """What has a VGG-16 for a trunk."""

    ASSETS: ClassVar[tuple[str, ...]] = ("vgg",)

    def _check_network(self) -> None:
        if is_published(source := self.settings.vgg or ""):  # may be yet to be fetched, by who trains
            find_published(source)
        else:
            super()._check_network()

    def _vgg(self, *, classifier: bool = False) -> VggWeights | None:
        source = self.assets.get("vgg", self.settings.vgg)
        if source is None:
            return None
        return read_vgg(source, classifier=classifier, convention=self.settings.vgg_convention)

    def _convention(self, weights: VggWeights | None) -> ConventionName:
        return weights.convention if weights else self.settings.vgg_convention or "torchvision"


class FcnRecipe(_FromVgg):
    """The class of every pixel, by FCN (Long et al. 2015)."""

    NAME: ClassVar[str] = "fcn"
    NETWORK: ClassVar[str] = "fcn"
    Settings: ClassVar[type[RecipeSettings]] = FcnSettings

    settings: FcnSettings

    def network(self) -> nn.Module:
        settings = self.settings
        weights = self._vgg(classifier=settings.fc_width == FcnConfig.fc_width)
        convention = self._convention(weights)
        network = Fcn(config_from(FcnConfig, settings, classes=self.class_count, convention=convention))
        self.report = network.load_trunk(weights) if weights else None
        return network.to(memory_format=torch.channels_last)

    def _trunk(self, network: nn.Module) -> nn.Module | None:
        return cast(Fcn, network).trunk


class SegNetRecipe(_FromVgg):
    """The class of every pixel, by SegNet (Badrinarayanan et al. 2016)."""

    NAME: ClassVar[str] = "segnet"
    NETWORK: ClassVar[str] = "segnet"
    Settings: ClassVar[type[RecipeSettings]] = SegNetSettings

    settings: SegNetSettings

    def network(self) -> nn.Module:
        weights = self._vgg()
        convention = self._convention(weights)
        network = SegNet(config_from(SegNetConfig, self.settings, classes=self.class_count, convention=convention))
        self.report = network.load_trunk(weights) if weights else None
        return network.to(memory_format=torch.channels_last)

    def _trunk(self, network: nn.Module) -> nn.Module | None:
        return cast(SegNet, network).encoder


class UNetRecipe(_Segmentation):
    """The class of every pixel, by U-Net (Ronneberger et al. 2015)."""

    NAME: ClassVar[str] = "unet"
    NETWORK: ClassVar[str] = "unet"
    ASSETS: ClassVar[tuple[str, ...]] = ()
    Settings: ClassVar[type[RecipeSettings]] = UNetSettings

    settings: UNetSettings

    def network(self) -> nn.Module:
        return UNet(self._config(self.class_count)).to(memory_format=torch.channels_last)

    def _config(self, classes: int) -> UNetConfig:
        settings = self.settings
        every_level = tuple(range(1, settings.levels + 1))
        skips = every_level if settings.skips is None else settings.skips
        return config_from(UNetConfig, settings, classes=classes, skips=skips)

    def _grid(self, size_HW: tuple[int, int]) -> tuple[tuple[int, int], int]:
        config = self._config(classes=2)
        return (config.output_above(size_HW[0]), config.output_above(size_HW[1])), config.margin_px

    def _logits(self, network: nn.Module, images_BCHW: Tensor) -> Tensor:
        if self.settings.padding == "same":
            return network(images_BCHW)
        return predict_tiled(cast(UNet, network), images_BCHW, self.settings.tile_px)

    def _extended(self, images_BCHW: Tensor) -> Tensor:
        height, width = images_BCHW.shape[2:]
        kept_HW, margin_px = self._grid((height, width))
        return images_BCHW if self.settings.padding == "same" else mirrored(images_BCHW, margin_px, kept_HW)
