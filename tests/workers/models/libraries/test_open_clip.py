"""The laws of open_clip's models: both towers equal those of open_clip, in one space, and no config causes a fetch."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import open_clip
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from pixelmill.workers.errors import ModelError
from pixelmill.workers.models.backbones import load_backbone
from pixelmill.workers.models.libraries import open_clip as ours
from pixelmill.workers.models.libraries import resolve

CONFIG: dict[str, Any] = {
    "embed_dim": 16,
    "vision_cfg": {"image_size": 32, "layers": 1, "width": 32, "head_width": 16, "patch_size": 8},
    "text_cfg": {"context_length": 16, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 1},
}
SHOWN = {"mean": [0.5, 0.5, 0.5], "std": [0.25, 0.25, 0.25], "interpolation": "bilinear", "resize_mode": "squash"}


def saved(folder: Path, config: dict[str, Any], shown: dict[str, Any]) -> Any:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        kind = open_clip.CustomTextCLIP if config.get("custom_text") else open_clip.CLIP
        network = kind(**{key: value for key, value in config.items() if key != "custom_text"}).eval()
    folder.mkdir(exist_ok=True)
    state = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    save_file(state, folder / "open_clip_model.safetensors")
    (folder / "open_clip_config.json").write_text(json.dumps({"model_cfg": config, "preprocess_cfg": shown}))
    return network


def noise() -> Tensor:
    return torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(1))


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    saved(tmp_path / "clip", CONFIG, SHOWN)
    return tmp_path / "clip"


@torch.inference_mode()
@pytest.mark.parametrize("changes", [{}, {"quick_gelu": True}, {"custom_text": True}])
def test_pictures_and_sentences_get_the_vectors_of_open_clip(tmp_path: Path, changes: dict[str, Any]) -> None:
    network = saved(tmp_path, CONFIG | changes, SHOWN)
    name = resolve(f"open_clip:local-dir:{tmp_path}")
    loaded = load_backbone(name)
    assert torch.allclose(loaded.network.module(noise()), network.encode_image(noise()), atol=1e-5)
    texts = ["a photograph of a cat", "a street by night"]
    vectors_ND = ours.text_encoder(name)(texts)
    tokens = open_clip.SimpleTokenizer(context_length=16)(texts)
    assert torch.allclose(vectors_ND, network.encode_text(tokens, normalize=True), atol=1e-5)
    assert torch.allclose(vectors_ND.norm(dim=1), torch.ones(2))
    assert vectors_ND.shape[1] == loaded.dim


def test_many_sentences_are_encoded_as_one_by_one_and_none_is_an_error(
    clip: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ours, "TEXTS_AT_ONCE", 2)
    encode = ours.text_encoder(resolve(f"open_clip:local-dir:{clip}"))
    texts = ["one", "two", "three", "four", "five"]
    assert torch.allclose(encode(texts), torch.cat([encode([text]) for text in texts]), atol=1e-6)
    with pytest.raises(ModelError, match="there is no sentence to encode"):
        encode([])


def test_pictures_are_prepared_as_the_config_says(clip: Path) -> None:
    shown = load_backbone(resolve(f"open_clip:local-dir:{clip}")).preprocess
    assert (shown.crop_px, shown.fit, shown.interpolation, shown.mean) == (32, "stretch", "bilinear", (0.5,) * 3)
    saved(clip, CONFIG, {})
    shown = load_backbone(resolve(f"open_clip:local-dir:{clip}")).preprocess
    assert (shown.resize_px, shown.fit, shown.interpolation) == (32, "centre crop", "bicubic")
    assert shown.mean == (0.48145466, 0.4578275, 0.40821073)
    saved(clip, CONFIG, {"resize_mode": "longest"})
    with pytest.raises(ModelError, match="sees 32 x 32 px by longest"):
        load_backbone(resolve(f"open_clip:local-dir:{clip}"))


def test_what_open_clip_offers_is_read_from_its_files_as_open_clip_says_it() -> None:
    offered = ours.open_clip_models()
    assert set(open_clip.list_models()) == set(offered)
    for name in open_clip.list_models():
        assert set(open_clip.list_pretrained_tags_by_model(name)) <= offered[name], name


@pytest.mark.parametrize(
    ("written", "words"),
    [
        ("open_clip:ViT-B-23/openai", "open_clip has no model ViT-B-23 (did you mean ViT-B-"),
        ("open_clip:ViT-B-32", "ViT-B-32 has no default weights; it has "),
        ("open_clip:ViT-B-32/opnai", "ViT-B-32 has no opnai; it has "),
        ("open_clip:hf-hub:laion/clip", "what a name or a branch holds can change"),
        ("open_clip:local-dir:/nowhere", "has no open_clip_config.json"),
    ],
)
def test_a_misspelt_name_gets_the_existing_names(written: str, words: str) -> None:
    with pytest.raises(ModelError) as raised:
        resolve(written)
    assert words in str(raised.value)


def test_weights_trained_with_another_activation_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    def unfetched(*_: object) -> Path:
        raise AssertionError("its weights were fetched")

    monkeypatch.setattr(ours, "fetched_file", unfetched)
    with pytest.raises(ModelError, match="trained with QuickGELU; take the architecture with -quickgelu"):
        load_backbone(resolve("open_clip:ViT-B-32/openai"))
    with pytest.raises(ModelError, match="trained without QuickGELU"):
        load_backbone(resolve("open_clip:ViT-B-32-quickgelu/laion2b_s34b_b79k"))


@pytest.mark.parametrize(
    ("tower", "changes", "words"),
    [
        ("text_cfg", {"hf_model_name": "xlm-roberta-base"}, "its hf_model_name is another model, xlm-roberta-base"),
        ("text_cfg", {"hf_tokenizer_name": "someone/else"}, "its hf_tokenizer_name is another model, someone/else"),
        ("vision_cfg", {"timm_model_name": "hf-hub:someone/else"}, "timm has no model hf-hub:someone/else"),
        ("vision_cfg", {"width": 1 << 30}, "states no vision_cfg and text_cfg"),
        ("vision_cfg", {"width": 1 << 14}, "more than twice the .* tensors or the size of its weights"),
        ("vision_cfg", {"no_such_option": 1}, "open_clip can't build it"),
        ("vision_cfg", {"layers": 2}, "open_clip can't build it.*Missing key"),
    ],
)
def test_a_config_that_asks_for_more_than_its_network_is_refused(
    clip: Path, tower: str, changes: dict[str, Any], words: str
) -> None:
    config = CONFIG | {tower: CONFIG[tower] | changes}
    (clip / "open_clip_config.json").write_text(json.dumps({"model_cfg": config}))
    with pytest.raises(ModelError, match=words):
        load_backbone(resolve(f"open_clip:local-dir:{clip}"))


def test_weights_are_whole_and_no_pickle(clip: Path) -> None:
    file = clip / "open_clip_model.safetensors"
    save_file({name: tensor for name, tensor in load_file(file).items() if name != "visual.proj"}, file)
    with pytest.raises(ModelError, match=r'Missing key.*"visual\.proj"'):
        load_backbone(resolve(f"open_clip:local-dir:{clip}"))
    file.rename(clip / "open_clip_pytorch_model.bin")
    with pytest.raises(
        ModelError, match=r"has open_clip_pytorch_model\.bin and no open_clip_model\.safetensors: a pickle"
    ):
        resolve(f"open_clip:local-dir:{clip}")


def test_a_folder_states_its_licence_and_other_tasks_are_refused(clip: Path) -> None:
    (clip / "README.md").write_text("---\nlicense: mit\n---\n")
    assert load_backbone(resolve(f"open_clip:local-dir:{clip}")).network.licence == "mit"
    with pytest.raises(ModelError, match="can't segment here; they can embed"):
        resolve(f"open_clip:local-dir:{clip}", "segment")
