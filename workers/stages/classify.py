"""Classify: the likeliest classes of every picture, with their names and how likely the network takes them to be.

Legend: B batch, C channels, H height, W width, K classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field, PositiveInt

from pixelmill.workers.errors import ModelError, RowError
from pixelmill.workers.models.libraries import load_model, resolve
from pixelmill.workers.models.model_names import ModelName
from pixelmill.workers.pictures import Picture
from pixelmill.workers.stages import Milled, StageContext
from pixelmill.workers.stages.assets import AssetKind, is_remote
from pixelmill.workers.stages.network_options import NetworkStageConfig

if TYPE_CHECKING:
    import pyarrow as pa
    from torch import Tensor

    from pixelmill.workers.models.picture_model import PictureModel
    from pixelmill.workers.models.preprocess import Preprocess
    from pixelmill.workers.stages import Deferred

MIN_COSINE = 0.999
"""Logits computed in chosen settings have at least this cosine to the same logits in eager fp32."""
BYTES_EACH = 30
"""Of an id, a score and a name."""
SHOWN_CLASSES = 30


class ClassifyConfig(NetworkStageConfig):
    """Find the likeliest classes of every picture."""

    stage: ClassVar[str] = "classify"

    model: str = Field(
        description="torchvision:NAME or torchvision:NAME/WEIGHTS, FILE.safetensors or the folder of a fine-tuned classifier, "
        "here or on a store, or a model of another library; torchvision:NAME/random is untrained",
    )
    top: PositiveInt = Field(5, description="how many classes for each picture, the likeliest first")
    column: str = Field(
        "class", min_length=1, description="what the columns NAME_id, NAME_name and NAME_score are called after"
    )

    def assets(self) -> dict[str, AssetKind]:
        return {"model": "checkpoint"} if is_remote(self.model) else {}

    def columns(self) -> tuple[str, ...]:
        return (f"{self.column}_id", f"{self.column}_name", f"{self.column}_score")

    def row_bytes(self, picture_px: int) -> int:
        return BYTES_EACH * self.top

    def identity(self) -> dict[str, object]:
        options = self.output_options()
        del options["model"]  # by its complete name, or the hash of its weights
        return {self.stage: options | self._model_name().identity}

    def describe(self, context: StageContext, *, here: bool) -> list[str]:
        name = ", ".join(f"{key} {value}" for key, value in self._model_name().identity.items())
        if not here:
            return [name, "settings are chosen on the workers when the job starts"]
        return [name, *self.build(context).described()]

    def _model_name(self) -> ModelName:
        with self.located("model") as place:
            return resolve(place, "classify")

    def build(self, context: StageContext) -> Classify:
        return Classify(self, context)


class Classify:
    """`run([picture_CHW, ...])` gives ids, names and softmax scores of the likeliest classes; scores of all K add up to 1."""

    def __init__(self, config: ClassifyConfig, context: StageContext) -> None:
        import pyarrow as pa

        from pixelmill.workers.runtime.agreement import Cosine

        with config.located("model") as place:
            self._model = load_model(resolve(place, "classify"), "classify")
        self._preprocess, self._names = _seen(config.model, self._model), _named(config.model, self._model)
        self._top = min(config.top, len(self._names))
        if "top" in config.model_fields_set and self._top < config.top:
            raise ModelError(
                f"top is {config.top}, and model {config.model} tells {len(self._names)} classes apart; set fewer"
            )
        kinds = pa.int32(), pa.string(), pa.float32()
        self.fields = tuple(pa.field(name, pa.list_(kind)) for name, kind in zip(config.columns(), kinds, strict=True))
        self.weights_sha256 = self._model.weights_sha256
        self._network = config.tuned(self._model.network, self.weights_sha256, context, Cosine(MIN_COSINE))

    @property
    def batch(self) -> int:
        return self._network.batch

    @property
    def batch_pixels(self) -> None:
        return None  # every picture has one size

    @property
    def settings(self) -> dict[str, object]:
        return self._network.settings

    def prepare(self, picture: Picture) -> Tensor:
        return self._preprocess.applied_to(picture.pixels)

    def run(self, samples: Sequence[Tensor]) -> Milled:
        import torch

        # As they lie in memory, which is what channels_last wants; stacked as CHW they would be transposed twice.
        images_BCHW = torch.stack([picture_CHW.permute(1, 2, 0) for picture_CHW in samples]).permute(0, 3, 1, 2)
        logits_BK: Tensor = self._network(images_BCHW)
        finite_B = torch.isfinite(logits_BK).all(dim=1)
        scores, ids = logits_BK.softmax(dim=1).topk(self._top, dim=1)
        errors = {int(place): _not_finite() for place in (~finite_B).nonzero()}
        return Milled(self._columns(ids, scores), errors)

    def _columns(self, ids_BT: Tensor, scores_BT: Tensor) -> dict[str, pa.Array[Any] | Deferred]:
        """T classes for each picture, the likeliest first."""
        import pyarrow as pa

        rows = [[int(number) for number in ids_T] for ids_T in ids_BT]
        names = [[self._names[number] for number in row] for row in rows]
        scores = [[float(score) for score in scores_T] for scores_T in scores_BT]
        columns = zip(self.fields, (rows, names, scores), strict=True)
        return {field.name: pa.array(values, field.type) for field, values in columns}

    def described(self) -> list[str]:
        """What a plan says of it: its classes, and the settings that it would choose on noise."""
        import torch

        noise = torch.randint(0, 256, (3, 256, 256), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
        self.run([self.prepare(Picture(noise))] * self.batch)
        names, licence = self._names, self._model.licence
        several = ", ".join(names[:SHOWN_CLASSES]) + (" ..." if len(names) > SHOWN_CLASSES else "")
        lines = [f"{len(names)} classes: {several}", *([f"licence of the weights: {licence}"] if licence else [])]
        lines += [f"column {field.name}: {field.type}" for field in self.fields]
        lines.append("settings: " + ", ".join(f"{key} {value}" for key, value in self.settings.items()))
        return lines + [f"  tried {trial}" for trial in self._network.trials()]


def _seen(name: str, model: PictureModel) -> Preprocess:
    if model.preprocess is None:
        raise ModelError(f"model {name}: does not say what size of picture it takes; take one that does")
    return model.preprocess


def _named(name: str, model: PictureModel) -> tuple[str, ...]:
    """The names of its classes; numbers where it has none."""
    import torch

    if model.classes is not None:
        return model.classes.names
    assert model.preprocess is not None
    with torch.inference_mode():
        logits_BK = model.module(torch.zeros(1, len(model.mean), *model.preprocess.size_px))
    return tuple(str(number) for number in range(logits_BK.shape[1]))


def _not_finite() -> RowError:
    return RowError("classify", "NotFinite", "the network gave a NaN or infinite score")
