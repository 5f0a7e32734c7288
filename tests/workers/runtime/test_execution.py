"""A network is run as it is: normalized, in microbatches of any size, its outputs of any shape."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from pixelmill.workers.runtime.execution import Executor, PixelNetwork
from pixelmill.workers.runtime.settings import Settings
from tests.small_networks import MEAN, STD, network, pictures


class Identity(nn.Module):
    def forward(self, images_BCHW: Tensor) -> Tensor:
        return images_BCHW.flatten(1)


def test_pixels_are_normalized_as_torchvision_does() -> None:
    from torchvision.transforms.functional import convert_image_dtype, normalize

    expected = normalize(convert_image_dtype(pictures(), torch.float32), list(MEAN), list(STD))
    made = Executor(network(Identity()), Settings())(pictures())
    assert torch.allclose(made, expected.flatten(1), atol=1e-5)


def test_a_network_that_is_run_is_not_changed() -> None:
    kept = network()
    before = {name: tensor.clone() for name, tensor in kept.module.state_dict().items()}
    Executor(kept, Settings(precision="bfloat16"))(pictures())
    after = kept.module.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_a_microbatch_of_any_size_gives_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = Executor(network(), Settings(microbatch=16))(pictures())
    parts = Executor(network(), Settings(microbatch=5))(pictures())
    assert torch.allclose(whole, parts, atol=1e-5)


class Greedy(nn.Module):
    """Runs out of memory above four pictures."""

    def forward(self, images_BCHW: Tensor) -> Tensor:
        if len(images_BCHW) > 4:
            raise torch.OutOfMemoryError("too many")
        return images_BCHW.mean(dim=(2, 3))


def test_out_of_memory_halves_the_microbatch_for_good_and_loses_nothing() -> None:
    executor = Executor(network(Greedy()), Settings(microbatch=16))
    made = executor(pictures())
    assert made.shape == (16, 3)
    assert executor.settings.microbatch == 4
    assert torch.allclose(made, Executor(network(Greedy()), Settings(microbatch=1))(pictures()), atol=1e-6)


def test_out_of_memory_with_one_picture_is_an_error() -> None:
    class Full(nn.Module):
        def forward(self, images_BCHW: Tensor) -> Tensor:
            raise torch.OutOfMemoryError("one is too many")

    with pytest.raises(torch.OutOfMemoryError):
        Executor(network(Full()), Settings())(pictures(1))


class Many(nn.Module):
    """Outputs of several shapes and kinds: a map of ids, a map of numbers, and a vector, in a dict and a tuple."""

    def forward(self, images_BCHW: Tensor) -> dict[str, Tensor | tuple[Tensor, Tensor]]:
        return {
            "ids": images_BCHW.argmax(dim=1).to(torch.uint8),
            "pair": (images_BCHW.mean(dim=1, keepdim=True), images_BCHW.amax(dim=(2, 3))),
        }


@pytest.mark.parametrize("settings", [Settings(microbatch=5), Settings(precision="bfloat16", microbatch=16)])
def test_outputs_of_any_shape_keep_their_structure_and_their_order(settings: Settings) -> None:
    made = Executor(network(Many()), settings)(pictures())
    whole = Executor(network(Many()), Settings(microbatch=16))(pictures())
    mean_B1HW, most_BC = made["pair"]
    assert made["ids"].shape == (16, 32, 32)
    assert made["ids"].dtype == torch.uint8
    assert mean_B1HW.shape == (16, 1, 32, 32)
    assert most_BC.shape == (16, 3)
    assert mean_B1HW.dtype == most_BC.dtype == torch.float32
    assert torch.allclose(most_BC, whole["pair"][1], atol=0.02)


def test_a_network_of_another_number_of_channels_is_normalized_channel_by_channel() -> None:
    grey = PixelNetwork(Identity().eval(), (0.0,), (1.0,), None)
    images_B1HW = pictures()[:, :1]
    assert torch.allclose(Executor(grey, Settings())(images_B1HW), images_B1HW.flatten(1) / 255, atol=1e-6)


def test_an_output_that_is_no_tensor_is_refused_by_its_type() -> None:
    class Text(nn.Module):
        def forward(self, images_BCHW: Tensor) -> str:
            return "no tensor"

    with pytest.raises(TypeError, match="a network gave str"):
        Executor(network(Text()), Settings())(pictures())


def test_one_pass_takes_all_pictures_for_any_microbatch() -> None:
    executor = Executor(network(Greedy()), Settings(microbatch=1))
    assert torch.equal(executor.in_one_pass(pictures(4)), executor(pictures(4)))
    with pytest.raises(torch.OutOfMemoryError):
        executor.in_one_pass(pictures(5))
    assert executor.settings.microbatch == 1


@pytest.mark.slow
def test_a_compiled_network_of_any_size_is_not_compiled_for_every_size() -> None:
    from torch._dynamo.utils import counters

    anything = replace(network(nn.Conv2d(3, 2, 3, padding=1)), input_px=None)
    compiled, eager = Executor(anything, Settings(compile=True)), Executor(anything, Settings())
    sizes = [(2, 32, 40), (1, 20, 24), (3, 17, 50), (2, 9, 8), (5, 31, 64), (2, 64, 64), (1, 33, 90), (4, 12, 70)]
    graphs: list[int] = []
    for count, height, width in sizes:
        images_BCHW = torch.randint(0, 256, (count, 3, height, width), dtype=torch.uint8)
        torch.testing.assert_close(compiled.in_one_pass(images_BCHW), eager.in_one_pass(images_BCHW))
        graphs.append(counters["stats"]["unique_graphs"])
    assert graphs[-1] == graphs[3]  # one picture, and several, of which one may be as high as wide
