"""A library of one network for tests: what it says of a pixel is the mean of its colours, in the measure that the name says.

A test puts it into LIBRARIES under `toy`. A model is toy:metres, toy:inverse, toy:disparity, or toy:late, which says it when
it is loaded.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from pixelmill.workers.models.depth_facts import DepthFacts, Measure
from pixelmill.workers.models.model_names import ModelName
from pixelmill.workers.models.tasks import Task

if TYPE_CHECKING:
    from pixelmill.workers.models.picture_model import PictureModel

PLACE = "tests.workers.toy_library"


def resolve(model: str, rest: str, task: Task) -> ModelName:
    depth = None if rest == "late" else DepthFacts(cast("Measure", rest))
    return ModelName("toy", rest, "random", depth=depth)


def load(name: ModelName, task: Task) -> PictureModel:
    from torch import Tensor, nn

    from pixelmill.workers.models.picture_model import PictureModel, SizeFacts

    class Mean(nn.Module):
        def forward(self, images_BCHW: Tensor) -> Tensor:
            return images_BCHW.mean(1, keepdim=True) * 10

    facts = name.depth or DepthFacts("inverse")
    size = SizeFacts(multiple_px=4, reach_px=1, tiling="exact")
    return PictureModel(task, Mean(), (0.0,) * 3, (1.0,) * 3, size, "0" * 64, depth=facts)


def encoder(name: ModelName, layer: str | None, pooling: Any) -> Any:
    raise NotImplementedError


def licence(name: ModelName) -> str | None:
    return None
