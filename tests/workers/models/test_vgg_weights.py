"""Published VGG weights: recognized by the names of their tensors, and refused with the next step."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn import functional
from torchvision.models import VGG16_Weights

from pixelmill.workers.errors import ModelError
from pixelmill.workers.models.vgg_weights import load_vgg, read_vgg
from pixelmill.workers.networks.vgg import CONVENTIONS
from tests.shared_data import SHARED_DATA
from tests.workers.vgg_files import WIDTH, Write, torchvision_state, writing


@pytest.fixture
def write(tmp_path: Path) -> Write:
    return writing(tmp_path)


def test_files_of_other_networks_are_refused(write: Write) -> None:
    with pytest.raises(ModelError, match="batch normalisation"):
        read_vgg(write(torchvision_state() | {"features.1.running_mean": torch.zeros(4)}))
    with pytest.raises(ModelError, match=r"no VGG's tensors are called layer1\.weight"):
        read_vgg(write({"layer1.weight": torch.zeros(2)}))


def test_files_that_cannot_be_read_are_refused_with_the_next_step(tmp_path: Path) -> None:
    (tmp_path / "cut.safetensors").write_bytes(b"\x10")
    for name, next_step in [("none.safetensors", "no such file"), ("cut.safetensors", "fetch or convert it again")]:
        with pytest.raises(ModelError, match=next_step):
            load_vgg(tmp_path / name)
    with pytest.raises(ModelError, match=r"vgg16\.pth: a pickle can run code .* convert it once"):
        load_vgg(tmp_path / "vgg16.pth")


def test_the_convention_of_a_file_can_be_told_where_its_names_do_not(write: Write) -> None:
    path = write(torchvision_state())
    assert load_vgg(path, convention="torchvision_features").config.convention == "torchvision_features"


def test_the_classifier_is_read_when_asked_for_as_the_convolutions_that_do_the_same(write: Write) -> None:
    torch.manual_seed(0)
    linear, channels = nn.Linear(8 * WIDTH * 49, 6), 8 * WIDTH
    state = {f"classifier.0.{name}": tensor for name, tensor in linear.state_dict().items()}
    state |= {f"classifier.3.{name}": tensor for name, tensor in nn.Linear(6, 6).state_dict().items()}
    path = write(torchvision_state() | state)
    assert "fc6.weight" not in read_vgg(path).tensors
    tensors = read_vgg(path, classifier=True).tensors
    maps_BCHW = torch.rand(2, channels, 7, 7)
    convolved_BCHW = functional.conv2d(maps_BCHW, tensors["fc6.weight"], tensors["fc6.bias"])
    torch.testing.assert_close(convolved_BCHW.flatten(1), linear(maps_BCHW.flatten(1)))
    assert tensors["fc7.weight"].shape == (6, 6, 1, 1)


SHARED = SHARED_DATA / "weights"
IMAGENET = SHARED / "vgg16_imagenet_conv_bgr255_fp16.safetensors"


@pytest.mark.shared_data
@pytest.mark.skipif(not IMAGENET.exists(), reason="the development data set is not here")
def test_the_authors_weights_load_whole_and_respond_to_edges_and_not_to_their_mean_colour() -> None:
    network = load_vgg(IMAGENET)
    assert (network.config.depth, network.config.width, network.config.convention) == (16, 64, "caffe")
    mean_BCHW = (torch.tensor([123.68, 116.779, 103.939]) / 255).view(1, 3, 1, 1).expand(1, 3, 64, 64)
    stripes_BCHW = mean_BCHW + 0.3 * (torch.arange(64) // 8 % 2 * 2 - 1)
    with torch.inference_mode():
        flat, striped = (network(images_BCHW, ["relu2_2"])["relu2_2"] for images_BCHW in (mean_BCHW, stripes_BCHW))
    assert striped.mean() > 3 * flat.mean() > 0


# torchvision's own files


@pytest.fixture
def published(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where torchvision keeps its VGG-16 once it is fetched."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    path = tmp_path / "hub" / "checkpoints" / VGG16_Weights.IMAGENET1K_V1.url.rpartition("/")[2]
    path.parent.mkdir(parents=True)
    return path


def test_torchvisions_weights_are_taken_by_their_name(published: Path) -> None:
    torch.save(torchvision_state(), published)
    network = load_vgg("torchvision:VGG16_Weights.IMAGENET1K_V1")
    assert torch.equal(
        network.convolutions["conv5_3"].get_parameter("weight"), torchvision_state()["features.28.weight"]
    )


def test_torchvisions_port_of_the_authors_weights_gets_the_authors_preprocessing(published: Path) -> None:
    preset = VGG16_Weights.IMAGENET1K_FEATURES.transforms()
    convention = CONVENTIONS["torchvision_features"]
    assert convention.mean == pytest.approx([mean / std for mean, std in zip(preset.mean, preset.std, strict=True)])
    torch.save(torchvision_state(), published.with_name(VGG16_Weights.IMAGENET1K_FEATURES.url.rpartition("/")[2]))
    assert load_vgg("torchvision:VGG16_Weights.IMAGENET1K_FEATURES").config.convention == "torchvision_features"


class MakesFolder:
    """What makes a folder when it is unpickled."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> tuple[Callable[[str], None], tuple[str]]:
        return os.mkdir, (str(self.folder),)


def test_a_cached_file_that_wants_to_run_code_is_refused(published: Path, tmp_path: Path) -> None:
    torch.save(torchvision_state() | {"more": MakesFolder(tmp_path / "made")}, published)
    with pytest.raises(ModelError, match="does not hold its weights"):
        load_vgg("torchvision:VGG16_Weights.IMAGENET1K_V1")
    assert not (tmp_path / "made").exists()


@pytest.mark.parametrize("name", ["VGG16_Weights.IMAGENET1K_V9", "Vgg16", "ResNet18_Weights.IMAGENET1K_V1"])
def test_a_name_that_torchvision_does_not_have_is_refused(name: str) -> None:
    with pytest.raises(ModelError, match=r"take torchvision:VGG16_Weights\.IMAGENET1K_V1"):
        load_vgg(f"torchvision:{name}")
