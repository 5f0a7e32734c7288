"""A loaded checkpoint equals the saved one, and a misfit is refused before memory is allocated."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
from contextlib import suppress
from dataclasses import fields
from pathlib import Path

import pytest
import torch

from pixelmill.workers.errors import ModelError
from pixelmill.workers.models import checkpoint
from pixelmill.workers.models.card import Card, read_card
from pixelmill.workers.models.checkpoint import build, config_of, load_checkpoint, save_checkpoint
from pixelmill.workers.models.weight_files import shapes_of
from pixelmill.workers.networks.autoencoder import AutoencoderConfig, ConvAutoencoder
from pixelmill.workers.networks.registry import NETWORKS, network_types
from tests.workers.saved import CONFIG, card_of, change, make_card, weights_of


@pytest.mark.parametrize("name", ["net.safetensors", "folder"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_what_is_loaded_is_what_was_saved_as_float32(tmp_path: Path, name: str, dtype: torch.dtype) -> None:
    module = ConvAutoencoder(CONFIG).to(dtype).to(memory_format=torch.channels_last)
    save_checkpoint(tmp_path / name, module, make_card())
    loaded, card = load_checkpoint(tmp_path / name)
    assert card == make_card() == read_card(tmp_path / name)
    assert not loaded.training
    assert loaded.state_dict().keys() == module.state_dict().keys()
    for tensor_name, tensor in loaded.state_dict().items():
        assert tensor.dtype == torch.float32
        assert torch.equal(tensor, module.state_dict()[tensor_name].float())


def test_a_checkpoint_is_two_files_and_can_be_written_over(saved: Path) -> None:
    module = ConvAutoencoder(CONFIG)
    save_checkpoint(saved, module, make_card(split="another"))
    loaded, card = load_checkpoint(saved)
    assert card.split == "another"
    assert torch.equal(loaded.state_dict()["encoder.0.weight"], module.state_dict()["encoder.0.weight"])
    assert sorted(weights_of(saved).parent.iterdir()) == sorted([weights_of(saved), card_of(saved)])


def test_a_missing_tensor_is_refused_by_name(saved: Path) -> None:
    change(saved, lambda state: {name: state[name] for name in state if name != "encoder.0.bias"})
    with pytest.raises(ModelError, match=r"safetensors: 1 of \d+ tensors .* missing encoder\.0\.bias;"):
        load_checkpoint(saved)


def test_an_unexpected_tensor_is_refused_by_name(saved: Path) -> None:
    change(saved, lambda state: state | {"head.weight": torch.zeros(3)})
    with pytest.raises(ModelError, match=r"safetensors: .* unexpected head\.weight;"):
        load_checkpoint(saved)


def test_a_tensor_of_another_shape_is_refused_by_name(saved: Path) -> None:
    change(saved, lambda state: state | {"encoder.0.bias": torch.zeros(5)})
    with pytest.raises(ModelError, match=r"safetensors: .* encoder\.0\.bias is \(5,\), not \(4,\);"):
        load_checkpoint(saved)


def test_weights_that_are_no_numbers_are_refused_by_name(saved: Path) -> None:
    change(saved, lambda state: state | {"encoder.0.bias": state["encoder.0.bias"] * float("nan")})
    with pytest.raises(ModelError, match=r"encoder\.0\.bias hold values that are no numbers"):
        load_checkpoint(saved)


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("network", "perceptron", "names the network perceptron; there are autoencoder"),
        ("config", {"size_px": 32, "depth": 3}, "no option depth; it has channels"),
        ("config", {"size_px": 33}, "config of its card: .*multiple of 32"),
        ("config", {"width": "many"}, "config of its card: .*'str'"),
        ("config", {"size_px": 64}, r"code_mean_D is \(2,\), not"),
        ("metrics", {"mse": "good"}, r"metrics\.mse"),
        ("author", "me", "author"),
    ],
)
def test_a_card_that_does_not_describe_the_weights_is_refused(
    saved: Path, field: str, value: object, message: str
) -> None:
    card = json.loads(card_of(saved).read_text(encoding="utf-8"))
    card_of(saved).write_text(json.dumps(card | {field: value}), encoding="utf-8")
    with pytest.raises(ModelError, match=message):
        load_checkpoint(saved)


def test_a_card_of_another_network_is_not_saved(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="tensors do not fit"):
        save_checkpoint(tmp_path / "net.safetensors", ConvAutoencoder(AutoencoderConfig(size_px=32)), make_card())
    assert list(tmp_path.iterdir()) == []


def test_loading_draws_nothing_from_the_callers_random_numbers(saved: Path) -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    load_checkpoint(saved)
    assert torch.equal(torch.rand(3), expected)


def test_importing_checkpoint_does_not_import_torchvision() -> None:
    code = "import sys, pixelmill.workers.models.checkpoint; sys.exit('torchvision' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


SMALL: dict[str, dict[str, object]] = {
    "autoencoder": {"size_px": 32, "width": 4, "code_channels": 2},
    "vae": {"size_px": 8, "hidden": 4, "latent_size": 2, "architecture": "convolutional", "width": 2},
    "fcn": {"width": 2, "fc_width": 2, "classes": 2},
    "segnet": {"width": 2, "classes": 2},
    "unet": {"base": 2},
    "monodepth": {"width": 2, "size_px": [128, 128]},
    "vdsr": {"depth": 3, "width": 2},
    "faststyle": {"width": 2, "blocks": 1},
    "crn": {"widths": [2, 2], "classes": 2},
    "ct-autoencoder": {"widths": [2, 2], "size_px": 32},
    "ct-finetuned": {"widths": [2, 2], "size_px": 32},
    "finetuned": {"encoder": "autoencoder", "encoder_config": {"size_px": 32, "width": 4, "code_channels": 2}},
}


OPTIONS = [
    (network, option.name)
    for network in NETWORKS
    for option in fields(network_types(network)[0])
    if str(option.type).startswith(("int", "tuple", "float", "dict"))
]


def test_every_network_has_its_small_config() -> None:
    assert SMALL.keys() == NETWORKS.keys()


@pytest.mark.parametrize("size", [8192, 2**20, 10**9, 10**30], ids=["8192", "1M", "1G", "1e30"])
@pytest.mark.parametrize(("network", "option"), OPTIONS)
def test_a_card_that_asks_for_more_than_its_file_holds_is_refused_without_memory(
    tmp_path: Path, network: str, option: str, size: int
) -> None:
    card = make_card(network=network, config=SMALL[network])
    with torch.random.fork_rng(devices=[]):
        save_checkpoint(tmp_path, build(tmp_path, card), card)
    config = dict(SMALL[network])
    normal = config.get(option, getattr(config_of(tmp_path, card), option))
    absurd = {
        int: size,
        float: float(size),
        tuple: [size] * 7,
        list: [size] * 7,
        type(None): [size] * 7,
        dict: {"width": size},
    }[type(normal)]
    raw = json.loads((tmp_path / "card.json").read_text())
    (tmp_path / "card.json").write_text(json.dumps(raw | {"config": config | {option: absurd}}))
    peak_kb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with suppress(ModelError):
        load_checkpoint(tmp_path)
        assert changes_no_tensor(tmp_path, card)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - peak_kb < 200_000


def changes_no_tensor(path: Path, card: Card) -> bool:
    """Whether what the card at `path` describes has the same tensors as `card`: a float, or a size that none depends on."""
    shapes = [shapes_of(build(path, each, "meta").state_dict()) for each in (card, read(path))]
    return shapes[0] == shapes[1]


def read(path: Path) -> Card:
    return read_card(path)


def test_no_tensor_is_read_before_all_shapes_are_found_right(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise AssertionError("tensors were read")

    change(saved, lambda state: state | {"encoder.0.bias": torch.zeros(5)})
    monkeypatch.setattr(checkpoint, "load_file", fail)
    with pytest.raises(ModelError, match=r"encoder\.0\.bias is \(5,\), not \(4,\)"):
        load_checkpoint(saved)
