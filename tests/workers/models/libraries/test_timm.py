"""The laws of timm's models: a folder gives timm's outputs, every tensor is filled, and no pickle is ever loaded.

Legend: B batch, C channels, H height, W width.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from safetensors.torch import load_file, save_file
from timm.models import save_for_hf
from torch import Tensor, nn

from pixelmill.workers.errors import ModelError
from pixelmill.workers.models.backbones import load_backbone
from pixelmill.workers.models.libraries import load_model, resolve
from pixelmill.workers.models.libraries import timm as ours
from pixelmill.workers.models.tasks import Task

COMMIT = "0123456789abcdef0123456789abcdef01234567"
NETWORKS: dict[str, dict[str, Any]] = {
    "resnet10t": {"num_classes": 7},
    "vit_tiny_patch16_224": {"num_classes": 5, "img_size": 32, "depth": 2},
    "convnext_atto": {"num_classes": 3},
}


def saved(name: str, folder: Path, **facts: Any) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = timm.create_model(name, **NETWORKS[name]).eval()
    arguments = {key: value for key, value in NETWORKS[name].items() if key != "num_classes"}
    save_for_hf(network, folder, model_args=arguments, safe_serialization=True)
    change_config(folder, **facts)
    return network


def change_config(folder: Path, **changes: Any) -> None:
    file = folder / "config.json"
    config = json.loads(file.read_text())
    nested = changes.pop("pretrained_cfg", {})
    file.write_text(json.dumps({**config, **changes, "pretrained_cfg": config["pretrained_cfg"] | nested}))


def noise(side_px: int) -> Tensor:
    return torch.randn(2, 3, side_px, side_px, generator=torch.Generator().manual_seed(1))


@pytest.fixture
def resnet(tmp_path: Path) -> Path:
    saved("resnet10t", tmp_path / "resnet")
    return tmp_path / "resnet"


@torch.inference_mode()
@pytest.mark.parametrize("name", NETWORKS)
def test_a_folder_gives_the_logits_and_the_features_of_timm(name: str, tmp_path: Path) -> None:
    network: Any = saved(name, tmp_path)
    resolved = resolve(f"timm:local-dir:{tmp_path}", "classify")
    model = load_model(resolved, "classify")
    assert model.preprocess is not None
    images_BCHW = noise(model.preprocess.size_px[0])
    assert torch.allclose(model.module(images_BCHW), network(images_BCHW), atol=1e-5)
    loaded = load_backbone(resolve(f"timm:local-dir:{tmp_path}"))
    expected_BD = network.forward_head(network.forward_features(images_BCHW), pre_logits=True)
    assert torch.allclose(loaded.network.module(images_BCHW), expected_BD, atol=1e-5)
    assert (loaded.weights_sha256, model.weights_sha256) == (resolved.sha256, resolved.sha256)


def test_a_published_name_classifies_with_the_names_of_its_classes() -> None:
    model = load_model(resolve("timm:resnet10t/random", "classify"), "classify")
    assert model.classes is not None
    assert len(model.classes.names) == 1000
    assert model.classes.names[1] == "goldfish, Carassius auratus"


def test_a_folder_names_its_classes_and_its_licence(resnet: Path) -> None:
    assert load_model(resolve(f"timm:local-dir:{resnet}", "classify"), "classify").classes is None
    change_config(resnet, label_names=[f"kind {each}" for each in range(7)])
    (resnet / "README.md").write_text("---\nlicense: cc-by-nc-4.0\n---\n")
    model = load_model(resolve(f"timm:local-dir:{resnet}", "classify"), "classify")
    assert model.classes is not None
    assert model.classes.names[6] == "kind 6"
    assert model.licence == "cc-by-nc-4.0"


def test_the_licence_of_published_weights_is_the_one_that_timm_states() -> None:
    assert ours.licence(resolve("timm:vit_base_patch14_dinov2.lvd142m")) == "apache-2.0"
    assert ours.licence(resolve("timm:convnextv2_atto.fcmae_ft_in1k")) == "cc-by-nc-4.0"
    assert ours.licence(resolve("timm:resnet18/random")) is None


def test_pictures_are_prepared_as_the_config_says(resnet: Path) -> None:
    change_config(resnet, pretrained_cfg={"input_size": [3, 96, 96], "crop_pct": 0.75, "interpolation": "bicubic"})
    shown = load_backbone(resolve(f"timm:local-dir:{resnet}")).preprocess
    assert (shown.resize_px, shown.crop_px, shown.interpolation, shown.fit) == (128, 96, "bicubic", "centre crop")
    change_config(resnet, pretrained_cfg={"crop_mode": "squash"})
    loaded = load_backbone(resolve(f"timm:local-dir:{resnet}"))
    assert (loaded.preprocess.crop_px, loaded.preprocess.fit) == (128, "stretch")
    images_BCHW = noise(128)
    with torch.inference_mode():
        framed_BCHW = images_BCHW.clone()
        framed_BCHW[..., :16, :] = 9  # which the network is not shown
        assert torch.equal(loaded.network.module(images_BCHW), loaded.network.module(framed_BCHW))
    change_config(resnet, pretrained_cfg={"crop_mode": "border"})
    with pytest.raises(ModelError, match="this takes squares out of the middle"):
        load_backbone(resolve(f"timm:local-dir:{resnet}"))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda state: state.pop("fc.weight"), r"missing fc\.weight"),
        (lambda state: state.pop("layer1.0.conv1.weight"), r"missing layer1\.0\.conv1\.weight"),
        (lambda state: state.update(extra=torch.zeros(1)), "unexpected extra"),
        (lambda state: state.update({"fc.bias": torch.zeros(8)}), r"fc\.bias is \(8,\), not \(7,\)"),
        (lambda state: state["fc.bias"].fill_(torch.nan), "fc.bias hold values that are no numbers"),
    ],
)
def test_weights_that_do_not_fill_the_network_are_refused_by_name(resnet: Path, change: Any, words: str) -> None:
    state = load_file(resnet / "model.safetensors")
    change(state)
    save_file(state, resnet / "model.safetensors")
    tasks: tuple[Task, ...] = ("classify", "embed")
    for task in tasks:
        with pytest.raises(ModelError, match=words):
            _load(f"timm:local-dir:{resnet}", task)


def _load(name: str, task: Task) -> None:
    found = resolve(name, task)
    _ = load_model(found, task) if task == "classify" else load_backbone(found)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"architecture": "os.system"}, "names the architecture os.system, which the installed timm has not"),
        ({"model_args": {"checkpoint_path": "/etc/passwd"}}, "state checkpoint_path, which is not taken"),
        ({"model_args": {"pretrained_cfg": {"url": "http://a"}}}, "state pretrained_cfg, which is not taken"),
        ({"model_args": {"width": 1 << 30}}, "state width, which is not taken"),
        ({"model_args": {"no_such_option": 1}}, "no_such_option"),
        ({"num_classes": 1 << 40}, "states sizes that no network has"),
        ({"model_args": {"num_classes": 1 << 19}}, "more than twice the .* tensors or the size of its weights"),
    ],
)
def test_a_config_that_asks_for_more_than_its_network_is_refused(resnet: Path, changes: Any, words: str) -> None:
    change_config(resnet, **changes)
    with pytest.raises(ModelError, match=words):
        load_backbone(resolve(f"timm:local-dir:{resnet}"))


def test_where_else_weights_could_be_fetched_from_is_not_taken_from_a_folder(resnet: Path, tmp_path: Path) -> None:
    expected = load_backbone(resolve(f"timm:local-dir:{resnet}"))
    other = {
        "url": "http://127.0.0.1:9/x.pth",
        "file": str(tmp_path / "x.pth"),
        "hf_hub_id": "a/b",
        "custom_load": True,
        "said_by_a_later_version": 1,
    }
    change_config(resnet, pretrained_cfg=other)
    found = load_backbone(resolve(f"timm:local-dir:{resnet}"))
    assert torch.equal(found.network.module(noise(64)), expected.network.module(noise(64)))


def test_a_pickle_in_a_folder_is_refused_and_so_are_published_ones(
    resnet: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (resnet / "model.safetensors").rename(resnet / "pytorch_model.bin")
    with pytest.raises(ModelError, match=r"has pytorch_model\.bin and no model\.safetensors: a pickle can run code"):
        resolve(f"timm:local-dir:{resnet}")
    published = timm.get_pretrained_cfg("resnet10t.c3_in1k")
    monkeypatch.setattr(timm, "get_pretrained_cfg", lambda _: published)
    monkeypatch.setattr(published, "hf_hub_id", None)
    monkeypatch.setattr(published, "url", "https://example.org/x.pth")
    with pytest.raises(ModelError, match=r"published in https://example\.org/x\.pth alone: a pickle can run code"):
        load_backbone(resolve("timm:resnet10t.c3_in1k"))


@torch.inference_mode()
def test_published_weights_are_the_safetensors_of_their_repository(
    resnet: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[str, str]] = []

    def fetch(_: str, repository: str, file: str) -> Path:
        asked.append((repository, file))
        return resnet / "model.safetensors"

    monkeypatch.setattr(ours, "fetched_file", fetch)
    monkeypatch.setattr(timm.get_pretrained_cfg("resnet10t.c3_in1k"), "num_classes", 7)
    with pytest.raises(ModelError, match=r"fc\.weight is \(7, 512\), not \(1000, 512\)"):
        load_backbone(resolve("timm:resnet10t.c3_in1k"))
    assert asked == [("timm/resnet10t.c3_in1k", "model.safetensors")]
    state = load_file(resnet / "model.safetensors")
    save_file(state | {"fc.weight": torch.zeros(1000, 512), "fc.bias": torch.zeros(1000)}, resnet / "model.safetensors")
    loaded = load_backbone(resolve("timm:resnet10t.c3_in1k"))
    assert torch.equal(loaded.network.module[0].conv1[0].weight, state["conv1.0.weight"])


def test_names_of_the_hub_are_complete_with_their_commit_alone() -> None:
    assert resolve(f"timm:hf-hub:timm/resnet18.a1_in1k@{COMMIT}").identity == {
        "model": f"timm:hf-hub:timm/resnet18.a1_in1k@{COMMIT}"
    }
    with pytest.raises(ModelError, match="what a name or a branch holds can change"):
        resolve("timm:hf-hub:timm/resnet18.a1_in1k")
    with pytest.raises(ModelError, match="can't segment here; they can embed and classify"):
        resolve("timm:resnet18", "segment")
