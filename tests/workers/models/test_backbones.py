"""The laws of backbones: the features are what the classifier sees, layers are what they say, weights are the file's.

Legend: B batch, C channels, H height, W width, D dimension of an embedding.
"""

from __future__ import annotations

import os
import pickle
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
import torchvision
from torch import Tensor, nn
from torchvision import models

from pixelmill.workers.errors import ModelError
from pixelmill.workers.models.backbones import load_backbone
from pixelmill.workers.models.features import FeaturePooling, hash_weights
from pixelmill.workers.models.libraries import resolve
from pixelmill.workers.models.libraries import torchvision as torchvision_models
from pixelmill.workers.models.model_names import DEFAULT_MODEL
from pixelmill.workers.models.preprocess import Pooling
from pixelmill.workers.pictures import Picture
from pixelmill.workers.runtime.folding import folded
from pixelmill.workers.stages import StageContext
from pixelmill.workers.stages.embed import EmbedConfig

FAST = ("resnet18", "squeezenet1_1", "mobilenet_v3_small", "shufflenet_v2_x0_5", "mnasnet0_5", "regnet_y_400mf")
SLOW = (
    *("alexnet", "convnext_tiny", "densenet121", "efficientnet_b0", "efficientnet_v2_s", "googlenet", "inception_v3"),
    *("maxvit_t", "mobilenet_v2", "resnext50_32x4d", "swin_t", "swin_v2_t", "vgg11_bn", "vit_b_32", "wide_resnet50_2"),
)
FAMILIES = [*FAST, *(pytest.param(name, marks=pytest.mark.slow) for name in SLOW)]


def whole(name: str) -> nn.Module:
    """The classifier that a random backbone was cut from."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return models.get_model(name, weights=None, **torchvision_models.extra_arguments(name)).eval()


def crops(side_px: int, count: int = 2) -> Tensor:
    return torch.randn(count, 3, side_px, side_px, generator=torch.Generator().manual_seed(1))


def last_linear(module: nn.Module) -> nn.Linear | None:
    linears = [child for child in module.modules() if isinstance(child, nn.Linear)]
    return linears[-1] if linears else None


@torch.inference_mode()
@pytest.mark.parametrize("name", ["torchvision:resnet18", "torchvision:mobilenet_v3_small", "timm:resnet18"])
def test_no_batchnorm_is_left_in_a_backbone_that_is_folded(name: str) -> None:
    network = load_backbone(resolve(f"{name}/random")).network.module
    without_norms = folded(network)
    assert any(isinstance(module, nn.BatchNorm2d) for module in network.modules())
    assert not any(isinstance(module, nn.BatchNorm2d) for module in without_norms.modules())
    images_BCHW = crops(64)
    assert torch.allclose(without_norms(images_BCHW), network(images_BCHW), atol=1e-4)


@pytest.mark.parametrize("channels_last", [True, False])
def test_the_stage_gives_the_features_of_the_pictures_as_they_stand(channels_last: bool) -> None:
    config = EmbedConfig(model="torchvision:resnet18/random", precision="float32", channels_last=channels_last)
    stage, loaded = config.build(StageContext("cpu", 1, 2, None)), load_backbone(resolve(config.model))
    generator = torch.Generator().manual_seed(0)
    pictures = [torch.randint(0, 256, (3, 300, 260), dtype=torch.uint8, generator=generator) for _ in range(2)]
    for picture_CHW in pictures:
        picture_CHW[:, :150] //= 8  # dark above: turned or mirrored it is another
    mean_C11, std_C11 = (torch.tensor(each).view(3, 1, 1) for each in (loaded.preprocess.mean, loaded.preprocess.std))
    prepared = [stage.prepare(Picture(picture_CHW)) for picture_CHW in pictures]
    with torch.inference_mode():
        expected_BD = loaded.network.module(torch.stack([(each / 255 - mean_C11) / std_C11 for each in prepared]))
    made = stage.run(prepared).columns["embedding"]
    assert torch.allclose(torch.tensor(made.to_pylist()), expected_BD, atol=1e-4)


@torch.inference_mode()
@pytest.mark.parametrize("name", FAMILIES)
def test_features_are_what_the_classifier_of_the_network_sees(name: str) -> None:
    loaded = load_backbone(resolve(f"torchvision:{name}/random"))
    classifier, images_BCHW = whole(name), crops(loaded.preprocess.crop_px)
    features_BD = loaded.network.module(images_BCHW)
    assert features_BD.shape == (2, loaded.dim)
    linear = last_linear(classifier)
    if linear is None:  # squeezenet classifies by a convolution, after which it averages
        assert loaded.dim == next(m for m in classifier.classifier.modules() if isinstance(m, nn.Conv2d)).in_channels
        return
    assert loaded.dim == linear.in_features
    assert torch.allclose(linear(features_BD), classifier(images_BCHW), rtol=1e-3, atol=1e-4)


def test_every_family_of_torchvision_is_here() -> None:
    modules = {torchvision.models.get_model_builder(name).__module__ for name in models.list_models(models)}
    here = {torchvision.models.get_model_builder(name).__module__ for name in (*FAST, *SLOW)}
    assert here == modules


@pytest.mark.parametrize("name", ["resnet18", "regnet_y_400mf"])
def test_pictures_are_prepared_as_the_weights_were_trained(name: str) -> None:
    preset = models.get_model_weights(name).DEFAULT.transforms()  # type: ignore[attr-defined]
    loaded = load_backbone(resolve(f"torchvision:{name}/random"))
    prepared = loaded.preprocess
    assert [prepared.resize_px] == preset.resize_size
    assert [prepared.crop_px] == preset.crop_size
    assert prepared.interpolation == preset.interpolation.value
    assert (list(prepared.mean), list(prepared.std)) == (preset.mean, preset.std)
    assert (loaded.network.mean, loaded.network.std, loaded.network.input_px) == (
        prepared.mean,
        prepared.std,
        prepared.crop_px,
    )


# ----------------------------------------------------------------------------------------------- layers and pooling


@cache
def maps_of(layer: str) -> Tensor:
    network, found = whole("resnet18"), []
    network.get_submodule(layer).register_forward_hook(lambda _, __, output: found.append(output))
    with torch.inference_mode():
        network(crops(224))
    return found[0]


@pytest.mark.parametrize("layer", ["layer1", "layer2.0.conv1", "layer4", "avgpool"])
@pytest.mark.parametrize("pooling", ["auto", "avg", "max", "stats", "flatten"])
def test_a_layer_and_a_pooling_give_their_features(layer: str, pooling: Pooling) -> None:
    loaded = load_backbone(resolve("torchvision:resnet18/random"), layer=layer, pooling=pooling)
    maps_BCHW = maps_of(layer)
    spread = maps_BCHW.std(dim=(2, 3), correction=0)
    expected = {
        "auto": maps_BCHW.mean(dim=(2, 3)),
        "avg": maps_BCHW.mean(dim=(2, 3)),
        "max": maps_BCHW.amax(dim=(2, 3)),
        "stats": torch.cat([maps_BCHW.mean(dim=(2, 3)), spread], dim=1),
        "flatten": maps_BCHW.flatten(1),
    }[pooling]
    with torch.inference_mode():
        features_BD = loaded.network.module(crops(224))
    assert loaded.dim == expected.shape[1]
    assert torch.allclose(features_BD, expected, rtol=1e-3, atol=1e-4)


def test_tokens_are_pooled_over_their_length() -> None:
    tokens_BTD = torch.randn(2, 5, 7)
    assert torch.equal(FeaturePooling("auto")(tokens_BTD), tokens_BTD[:, 0])
    assert torch.equal(FeaturePooling("cls")(tokens_BTD), tokens_BTD[:, 0])
    assert torch.allclose(FeaturePooling("avg")(tokens_BTD), tokens_BTD.mean(1), atol=1e-6)
    assert torch.equal(FeaturePooling("max")(tokens_BTD), tokens_BTD.amax(1))
    assert FeaturePooling("stats")(tokens_BTD).shape == (2, 14)
    assert torch.equal(FeaturePooling("flatten")(tokens_BTD), tokens_BTD.flatten(1))


@pytest.mark.parametrize("pooling", ["auto", "avg", "max", "stats", "cls", "flatten"])
def test_a_vector_is_left_as_it_is(pooling: Pooling) -> None:
    vectors_BD = torch.randn(3, 4)
    assert torch.equal(FeaturePooling(pooling)(vectors_BD), vectors_BD)


def test_a_layer_that_is_not_there_is_answered_with_those_that_are() -> None:
    with pytest.raises(ModelError, match=r"torchvision:resnet18 has no layer layer5 \(did you mean layer4"):
        load_backbone(resolve("torchvision:resnet18/random"), layer="layer5")


# ----------------------------------------------------------------------------------------------------------- weights


def test_equal_networks_have_equal_hashes_and_others_have_not() -> None:
    first, second = whole("squeezenet1_1"), whole("squeezenet1_1")
    assert hash_weights(first) == hash_weights(second)
    parameter = next(second.parameters())
    with torch.no_grad():
        parameter.view(-1)[0] = torch.nextafter(parameter.view(-1)[0], torch.tensor(9.0))
    assert hash_weights(first) != hash_weights(second)


def test_buffers_names_shapes_and_types_are_part_of_the_hash() -> None:
    one, other = nn.BatchNorm2d(4), nn.BatchNorm2d(4)
    assert hash_weights(one) == hash_weights(other)
    other.running_mean += 1  # type: ignore[operator]
    assert hash_weights(one) != hash_weights(other)
    zeros = [nn.Linear(2, 3, bias=False), nn.Linear(3, 2, bias=False), nn.Linear(2, 3, bias=False).half()]
    for linear in zeros:
        nn.init.zeros_(linear.weight)
    assert len({hash_weights(linear) for linear in zeros}) == 3
    assert hash_weights(nn.Sequential(zeros[0])) != hash_weights(zeros[0])


def test_a_random_network_is_the_same_every_time_and_leaves_the_seed_alone() -> None:
    torch.manual_seed(7)
    expected = torch.rand(1)
    torch.manual_seed(7)
    first = load_backbone(resolve("torchvision:shufflenet_v2_x0_5/random"))
    assert torch.rand(1) == expected
    torch.manual_seed(8)
    assert load_backbone(resolve("torchvision:shufflenet_v2_x0_5/random")).weights_sha256 == first.weights_sha256


def published_file(folder: Path, name: str) -> Path:
    weights: Any = models.get_model_weights(name)
    return folder / weights.DEFAULT.url.rpartition("/")[2]


@pytest.mark.parametrize(
    "name", ["mobilenet_v3_small", *(pytest.param(n, marks=pytest.mark.slow) for n in ("googlenet", "densenet121"))]
)
def test_published_weights_are_loaded_from_the_cache_of_torch(torch_home: Path, name: str) -> None:
    torch.manual_seed(3)
    trained = models.get_model(name, weights=None, **torchvision_models.extra_arguments(name)).eval()
    torch.save(trained.state_dict(), published_file(torch_home, name))
    loaded = load_backbone(resolve(f"torchvision:{name}"))
    assert loaded.weights_sha256 != load_backbone(resolve(f"torchvision:{name}/random")).weights_sha256
    if name == "googlenet":  # published googlenet turns its input into another normalization first
        return
    images_BCHW, linear = crops(224), last_linear(trained)
    assert linear is not None
    with torch.inference_mode():
        assert torch.allclose(linear(loaded.network.module(images_BCHW)), trained(images_BCHW), rtol=1e-3, atol=1e-4)


def test_weights_that_can_not_be_fetched_say_where_to_put_them(torch_home: Path) -> None:
    words = (
        r"mobilenet_v3_small/IMAGENET1K_V1: its weights could not be fetched from https://.*\.pth .*put the file into"
    )
    with pytest.raises(ModelError, match=words):
        load_backbone(resolve("torchvision:mobilenet_v3_small"))


class Mischief:
    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (os.environ["MISCHIEF"],)


@pytest.mark.parametrize("kind", ["pickle", "cut", "other network", "html"])
def test_a_cached_file_that_is_not_the_weights_is_named_and_nothing_in_it_is_run(
    torch_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    monkeypatch.setenv("MISCHIEF", str(tmp_path / "mischief"))
    file = published_file(torch_home, "mobilenet_v3_small")
    state = models.mobilenet_v3_small(weights=None).state_dict()
    if kind == "pickle":
        torch.save({**state, "mischief": Mischief()}, file)
    elif kind == "cut":
        torch.save(state, file)
        file.write_bytes(file.read_bytes()[:100_000])
    elif kind == "other network":
        torch.save(models.squeezenet1_1(weights=None).state_dict(), file)
    else:
        file.write_bytes(b"<html>not found</html>")
    with pytest.raises(ModelError, match=rf"{file.name} in .*checkpoints does not hold its weights.*remove it"):
        load_backbone(resolve("torchvision:mobilenet_v3_small"))
    assert not (tmp_path / "mischief").exists()


def test_mischief_would_be_made_by_a_pickle_that_is_loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MISCHIEF", str(tmp_path / "mischief"))
    pickle.loads(pickle.dumps(Mischief()))
    assert (tmp_path / "mischief").exists()


# -------------------------------------------------------------------------------------------------------------- timm


def test_a_model_of_timm_gives_what_its_classifier_sees() -> None:
    timm = pytest.importorskip("timm")
    loaded = load_backbone(resolve("timm:resnet18/random"))
    torch.manual_seed(0)
    classifier = timm.create_model("resnet18", pretrained=False, num_classes=0).eval()
    with torch.inference_mode():
        assert torch.allclose(loaded.network.module(crops(64)), classifier(crops(64)), atol=1e-4)
    assert loaded.dim == 512
    assert loaded.preprocess.crop_px == 224
    assert load_backbone(resolve("timm:resnet18/random"), layer="layer2").dim == 128


def test_weights_of_timm_that_can_not_be_fetched_say_so(torch_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("timm")
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(torch_home))
    with pytest.raises(ModelError, match="timm:resnet18"):
        load_backbone(resolve("timm:resnet18"))
    with pytest.raises(ModelError, match=r"timm:resnet18\.nosuch"):
        load_backbone(resolve("timm:resnet18.nosuch/random"))


# -------------------------------------------------------------------------------------------------------------- ours


def test_the_network_that_ships_embeds_with_the_hash_of_its_file() -> None:
    name = resolve(DEFAULT_MODEL)
    loaded = load_backbone(name)
    assert loaded.weights_sha256 == name.sha256
    with torch.inference_mode():
        features_BD = loaded.network.module(crops(loaded.preprocess.crop_px))
    assert features_BD.shape == (2, loaded.dim)
    assert load_backbone(name, layer="code").dim != loaded.dim
