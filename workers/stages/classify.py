"""Classify: the likeliest classes of every picture, with their names and probabilities.

Legend: B batch, C channels, H height, W width, K classes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field, PositiveInt

from pixelmill.workers.errors import ModelError, RowError
from pixelmill.workers.models.tasks import Task
from pixelmill.workers.pictures import Kind
from pixelmill.workers.stages import Milled, StageContext
from pixelmill.workers.stages.model_stage import ModelStageConfig
from pixelmill.workers.stages.shared_runs import SeesOneSize

if TYPE_CHECKING:
    import pyarrow as pa
    from torch import Tensor

    from pixelmill.workers.models.picture_model import PictureModel
    from pixelmill.workers.models.preprocess import Preprocess
    from pixelmill.workers.stages import Deferred

MIN_COSINE = 0.999
"""Logits computed in chosen settings have at least this cosine to the same logits in eager fp32."""
BYTES_EACH = 30
"""Bytes of one class in the output: its id, score and name."""


class ClassifyConfig(ModelStageConfig):
    """Find the likeliest classes of every picture."""

    stage: ClassVar[str] = "classify"
    task: ClassVar[Task] = "classify"
    sees_crops: ClassVar[bool] = True
    takes: ClassVar[frozenset[Kind]] = frozenset({"rgb8", "hu16"})
    meanings: ClassVar[Mapping[str, str]] = {
        "_id": "ids of the likeliest classes, from 0, the likeliest first",
        "_name": "names of these classes",
        "_score": "their probabilities, 0 to 1; those of all classes add up to 1",
    }

    model: str = Field(
        description="torchvision:NAME or torchvision:NAME/WEIGHTS, FILE.safetensors or the folder of a fine-tuned classifier, "
        "local or on a store, or a model of another library; torchvision:NAME/random is untrained",
    )
    top: PositiveInt = Field(5, description="how many classes for each picture, the likeliest first")
    column: str = Field("class", min_length=1, description="NAME of the columns NAME_id, NAME_name and NAME_score")

    def columns(self) -> tuple[str, ...]:
        return (f"{self.column}_id", f"{self.column}_name", f"{self.column}_score")

    def row_bytes(self, picture_px: int) -> int:
        return BYTES_EACH * self.top

    def needs_trial(self) -> bool:
        """Whether the model has so many classes."""
        return "top" in self.model_fields_set or super().needs_trial()

    def build(self, context: StageContext) -> Classify:
        return Classify(self, context)


class Classify(SeesOneSize):
    """`run([picture_CHW, ...])` gives ids, names and softmax scores of the likeliest classes; scores of all K add up to 1."""

    def __init__(self, config: ClassifyConfig, context: StageContext) -> None:
        import pyarrow as pa

        from pixelmill.workers.runtime.agreement import Cosine

        model = config.loaded()
        preprocess = _seen(config.model, model)
        self._names = _named(model, preprocess)
        self._top = min(config.top, len(self._names))
        if "top" in config.model_fields_set and self._top < config.top:
            raise ModelError(f"top is {config.top}, and model {config.model} has {len(self._names)} classes; set fewer")
        kinds = pa.int32(), pa.string(), pa.float32()
        self.fields = tuple(pa.field(name, pa.list_(kind)) for name, kind in zip(config.columns(), kinds, strict=True))
        self.weights_sha256 = model.weights_sha256
        network = config.tuned(model.network, self.weights_sha256, context, Cosine(MIN_COSINE))
        super().__init__(network, preprocess)

    def run(self, samples: Sequence[Tensor]) -> Milled:
        import torch

        # Stacked in their memory order, HWC, which channels_last needs; stacked as CHW they would be transposed twice.
        images_BCHW = torch.stack([picture_CHW.permute(1, 2, 0) for picture_CHW in samples]).permute(0, 3, 1, 2)
        logits_BK: Tensor = self.network(images_BCHW)
        finite_B = torch.isfinite(logits_BK).all(dim=1)
        scores, ids = logits_BK.softmax(dim=1).topk(self._top, dim=1)
        errors = {int(place): _not_finite() for place in (~finite_B).nonzero()}
        return Milled(self._columns(ids, scores), errors)

    def _columns(self, ids_BT: Tensor, scores_BT: Tensor) -> dict[str, pa.Array[Any] | Deferred]:
        """The T likeliest classes of each picture, the likeliest first."""
        import pyarrow as pa

        rows = [[int(number) for number in ids_T] for ids_T in ids_BT]
        names = [[self._names[number] for number in row] for row in rows]
        scores = [[float(score) for score in scores_T] for scores_T in scores_BT]
        columns = zip(self.fields, (rows, names, scores), strict=True)
        return {field.name: pa.array(values, field.type) for field, values in columns}


def _seen(name: str, model: PictureModel) -> Preprocess:
    if model.preprocess is None:
        raise ModelError(f"model {name}: does not state its input size; choose one that does")
    return model.preprocess


def _named(model: PictureModel, seen: Preprocess) -> tuple[str, ...]:
    """The names of the model's classes; their numbers if it has no names."""
    import torch

    if model.classes is not None:
        return model.classes.names
    with torch.inference_mode():
        logits_BK = model.module(torch.zeros(1, len(model.mean), *seen.size_px))
    return tuple(str(number) for number in range(logits_BK.shape[1]))


def _not_finite() -> RowError:
    return RowError("classify", "NotFinite", "the network gave a NaN or infinite score")
