"""The laws of spandrel's networks: the facts that it knows are kept, grey ones take colour, and a pickle is never opened.

Legend: B batch, C channels, H height, W width.
"""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from spandrel import ImageModelDescriptor, ModelLoader
from spandrel.architectures.Compact.__arch.SRVGG import SRVGGNetCompact
from spandrel.architectures.DnCNN.__arch.network_dncnn import DnCNN
from spandrel.architectures.ESRGAN.__arch.RRDB import RRDBNet
from torch import Tensor, nn

from pixelmill.workers.errors import ModelError
from pixelmill.workers.models.libraries import load_model, resolve
from pixelmill.workers.models.picture_model import PictureModel
from pixelmill.workers.models.upscalers import Upscaler
from pixelmill.workers.runtime.execution import Executor
from pixelmill.workers.runtime.settings import Settings


def saved(network: nn.Module, file: Path) -> Path:
    save_file({name: tensor.clone().contiguous() for name, tensor in network.state_dict().items()}, file)
    return file


def loaded(file: Path) -> PictureModel:
    return load_model(resolve(f"spandrel:{file}", "upscale"), "upscale")


@pytest.fixture
def twice(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    return saved(
        SRVGGNetCompact(num_in_ch=3, num_out_ch=3, num_feat=8, num_conv=2, upscale=2), tmp_path / "twice.safetensors"
    )


def noise(*size: int) -> Tensor:
    return torch.rand(*size, generator=torch.Generator().manual_seed(1))


@torch.inference_mode()
def test_an_upscaler_gives_what_spandrel_gives_in_every_copy(twice: Path) -> None:
    model = loaded(twice)
    images_BCHW = noise(2, 3, 13, 17)
    described = ModelLoader().load_from_state_dict(load_file(twice))
    assert isinstance(described, ImageModelDescriptor)
    expected_BCHW = described(images_BCHW)
    assert torch.equal(model.module(images_BCHW), expected_BCHW)
    assert expected_BCHW.shape == (2, 3, 26, 34)
    twin = copy.deepcopy(model.module).to(torch.bfloat16)
    assert torch.allclose(twin(images_BCHW.bfloat16()).float(), expected_BCHW, atol=0.02)
    assert next(model.module.parameters()).dtype == torch.float32
    pixels = (noise(1, 3, 8, 8) * 255).byte()
    assert torch.allclose(Executor(model.network, Settings())(pixels), described(pixels / 255), atol=1e-5)


def test_its_facts_are_those_that_spandrel_knows(twice: Path, tmp_path: Path) -> None:
    model = loaded(twice)
    assert (model.size.scale, model.size.tiling, model.size.multiple_px) == (2, "blended", 1)
    assert model.precisions == ("float32", "bfloat16", "float16")
    least = loaded(saved(RRDBNet(in_nc=3, out_nc=3, num_filters=8, num_blocks=1, scale=4), tmp_path / "x4.safetensors"))
    assert (least.size.scale, least.size.least_px) == (4, 2)


@torch.inference_mode()
def test_a_network_for_grey_pictures_restores_each_channel_and_is_not_run_in_a_precision_that_it_lacks(
    tmp_path: Path,
) -> None:
    torch.manual_seed(0)
    network = DnCNN(in_nc=1, out_nc=1, nc=8, nb=4).eval()
    model = loaded(saved(network, tmp_path / "denoise.safetensors"))
    images_BCHW = noise(2, 3, 8, 9)
    assert isinstance(model.module, Upscaler)
    made_BCHW = model.module(images_BCHW)
    assert torch.allclose(made_BCHW[:, 1:2], network(images_BCHW[:, 1:2]).clamp(0, 1), atol=1e-6)
    assert made_BCHW.shape == images_BCHW.shape
    assert (model.size.scale, model.precisions) == (1, ("float32", "bfloat16"))
    assert model.network.precisions == model.precisions


def test_a_file_is_identified_by_its_content(twice: Path, tmp_path: Path) -> None:
    other = tmp_path / "elsewhere.safetensors"
    other.write_bytes(twice.read_bytes())
    assert resolve(f"spandrel:{other}", "upscale").identity == resolve(f"spandrel:{twice}", "upscale").identity
    save_file(load_file(twice) | {"body.0.bias": torch.ones(8)}, other)
    assert resolve(f"spandrel:{other}", "upscale").identity != resolve(f"spandrel:{twice}", "upscale").identity


@pytest.mark.parametrize("suffix", [".pth", ".pt", ".ckpt", ".bin"])
def test_a_pickle_is_refused_with_the_way_to_convert_it(tmp_path: Path, suffix: str) -> None:
    (tmp_path / f"model{suffix}").write_bytes(b"anything")
    with pytest.raises(ModelError, match=r"a pickle can run code.*safetensors\.torch\.save_file"):
        resolve(f"spandrel:{tmp_path / f'model{suffix}'}", "upscale")


def test_other_tasks_and_missing_files_are_refused(twice: Path) -> None:
    with pytest.raises(ModelError, match="can't segment here; they can upscale"):
        resolve(f"spandrel:{twice}", "segment")
    with pytest.raises(ModelError, match=r"no such file; write spandrel:FILE\.safetensors"):
        resolve("spandrel:gone.safetensors", "upscale")
    with pytest.raises(ModelError, match=r"test_spandrel\.py does not end with \.safetensors; write spandrel:FILE"):
        resolve(f"spandrel:{__file__}", "upscale")


def test_weights_of_no_network_or_of_half_a_network_are_refused(twice: Path, tmp_path: Path) -> None:
    file = tmp_path / "other.safetensors"
    save_file({"weight": torch.zeros(2)}, file)
    with pytest.raises(ModelError, match="knows no network with these 1 weights"):
        loaded(file)
    state = load_file(twice)
    save_file({name: tensor for name, tensor in state.items() if name != "body.2.bias"}, file)
    with pytest.raises(ModelError, match="its weights are not those of one network"):
        loaded(file)
    save_file(state | {"body.0.bias": torch.full((8,), torch.nan)}, file)
    with pytest.raises(ModelError, match="hold values that are no numbers"):
        loaded(file)
    file.write_bytes(twice.read_bytes()[:-8])
    with pytest.raises(ModelError, match="not a whole safetensors file"):
        resolve(f"spandrel:{file}", "upscale")


def test_sizes_that_the_file_does_not_account_for_are_refused(twice: Path, tmp_path: Path) -> None:
    """Empty tensors cost a file nothing, and a network that was built of their shapes would cost 4 TB."""
    state = load_file(twice)
    state["body.0.weight"] = torch.empty(1 << 20, 1 << 20, 0, 3)
    save_file(state, tmp_path / "huge.safetensors")
    with pytest.raises(ModelError, match=r"more than twice|not those of one network"):
        loaded(tmp_path / "huge.safetensors")
