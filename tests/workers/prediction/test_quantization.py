"""Quantized networks are compared by their task's own measure, and one that is another network once exported is refused.

Legend: B batch, C channels, H height, W width, K classes.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from pixelmill.workers.errors import ModelError
from pixelmill.workers.models.onnx_export import card_of_model
from pixelmill.workers.models.picture_model import Classes, PictureModel, SizeFacts
from pixelmill.workers.models.preprocess import Preprocess
from pixelmill.workers.models.tasks import Task
from pixelmill.workers.prediction.network_inputs import seen_by
from pixelmill.workers.prediction.quantization import FloatNetwork, agreement_of, digest_of, quantized_file

MEAN, STD = (0.5,) * 3, (0.25,) * 3


def network_of(module: nn.Module, task: Task, preprocess: Preprocess | None = None) -> FloatNetwork:
    size, classes = SizeFacts(multiple_px=4), Classes(("a", "b", "c", "d"))
    found = PictureModel(task, module.eval(), MEAN, STD, size, "0" * 64, classes=classes, preprocess=preprocess)
    seen = preprocess.applied_to if preprocess else lambda pixels_CHW: seen_by(found, pixels_CHW)
    return FloatNetwork("m", found.network, card_of_model("m", found), seen, "m", "0" * 64)


def pictures(network: FloatNetwork, count: int = 8) -> list[Tensor]:
    generator = torch.Generator().manual_seed(0)
    coarse_BCHW = torch.rand(count, 3, 4, 4, generator=generator)
    sizes = [(20 + 4 * place, 30) for place in range(count)]
    scaled = [nn.functional.interpolate(each[None], size)[0] for each, size in zip(coarse_BCHW, sizes, strict=True)]
    return [network.seen((255 * each_CHW).byte()) for each_CHW in scaled]


def convolutions() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 4, 3, padding=1))


def compared(network: FloatNetwork, folder: Path) -> tuple[str, ...]:
    data = quantized_file(network, pictures(network))
    (folder / "q.onnx").write_bytes(data)
    (folder / "q.json").write_text(network.card.model_dump_json(exclude_none=True))
    assert data.count(b"QuantizeLinear") > 4
    found = agreement_of(network, pictures(network), folder / "q.onnx")
    assert all(0.9 < each.worst <= each.median <= 1 and each.pictures == 8 for each in found)
    return tuple(each.measure for each in found)


def test_masks_of_pictures_of_any_size_by_their_equal_pixels(tmp_path: Path) -> None:
    assert compared(network_of(convolutions(), "segment"), tmp_path) == ("equal clear pixels",)


def test_classes_by_the_cosine_of_scores_and_the_share_of_equal_ones(tmp_path: Path) -> None:
    module = nn.Sequential(*convolutions().children(), nn.AdaptiveAvgPool2d(1), nn.Flatten())  # type: ignore[arg-type]
    network = network_of(module, "classify", Preprocess(16, 16, "bilinear", MEAN, STD))
    assert compared(network, tmp_path) == ("cosine", "equal classes")


class Counting(nn.Module):
    """What it gives depends on how many pictures there are."""

    def forward(self, images_BCHW: Tensor) -> Tensor:
        return nn.functional.pad(images_BCHW, (0, 0, 0, 0, 0, 1)) * len(images_BCHW)


def test_a_network_that_is_another_one_once_exported_is_refused() -> None:
    network = network_of(Counting(), "segment")
    with pytest.raises(
        ModelError, match="can't be exported to ONNX, since what it does depends on the size of a batch"
    ):
        quantized_file(network, pictures(network))


def test_the_digest_is_that_of_the_pictures_in_their_order() -> None:
    first, second = torch.zeros(3, 2, 2, dtype=torch.uint8), torch.ones(3, 2, 2, dtype=torch.uint8)
    assert digest_of([first, second]) != digest_of([second, first])
    assert digest_of([first]) == hashlib.sha256(b"(3, 2, 2)\0" + bytes(12)).hexdigest()
