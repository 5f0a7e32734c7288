"""The laws of transformers' models: outputs equal those of transformers, incomplete models are refused, no code in a folder runs.

Legend: B batch, C channels, H height, W width, K classes.
"""

from __future__ import annotations

import json
import os
import pickle
import shutil
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file
from torch import Tensor

from pixelmill.workers.errors import ModelError
from pixelmill.workers.models.backbones import load_backbone
from pixelmill.workers.models.heads import Flipped
from pixelmill.workers.models.libraries import load_model, resolve
from pixelmill.workers.models.tasks import Task
from tests.workers.tiny_transformers import CLASSIFIES, DEPTHS, EMBEDS, SEGMENTS, saved

ROOT = Path(__file__).parents[4]
COMMIT = "0123456789abcdef0123456789abcdef01234567"


def noise(*size: int) -> Tensor:
    return torch.randn(2, 3, *size, generator=torch.Generator().manual_seed(1))


def change_config(folder: Path, **changes: Any) -> None:
    file = folder / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))


@pytest.fixture
def vit(tmp_path: Path) -> Path:
    saved("vit", tmp_path / "vit")
    return tmp_path / "vit"


# -------------------------------------------------------------------------------------------------- what networks give


@torch.inference_mode()
@pytest.mark.parametrize("name", EMBEDS)
def test_an_embedding_is_what_transformers_gives(name: str, tmp_path: Path) -> None:
    network = saved(name, tmp_path)
    loaded = load_backbone(resolve(f"hf:{tmp_path}"))
    images_BCHW = noise(*loaded.preprocess.size_px)
    assert loaded.network.module(images_BCHW).shape == (2, loaded.dim)
    if name == "deit":
        images_BCHW = images_BCHW[..., 4:36, 4:36]
    if name in {"clip", "siglip"}:
        expected_BD = network.get_image_features(images_BCHW).pooler_output
    else:
        outputs = (network if type(network).__name__.endswith("Model") else network.base_model)(images_BCHW)
        expected_BD = outputs.last_hidden_state[:, 0] if name in {"vit", "deit"} else outputs.pooler_output.flatten(1)
    shown_BCHW = noise(*loaded.preprocess.size_px)
    assert torch.allclose(loaded.network.module(shown_BCHW), expected_BD, atol=1e-5)


@torch.inference_mode()
def test_pooling_takes_the_tokens_of_an_encoder(vit: Path) -> None:
    images_BCHW = noise(32, 32)
    mean_BD = load_backbone(resolve(f"hf:{vit}"), pooling="avg").network.module(images_BCHW)
    first_BD = load_backbone(resolve(f"hf:{vit}"), pooling="cls").network.module(images_BCHW)
    assert torch.allclose(first_BD, load_backbone(resolve(f"hf:{vit}")).network.module(images_BCHW))
    assert not torch.allclose(mean_BD, first_BD, atol=1e-2)
    with pytest.raises(ModelError, match="layers of transformers can't be named"):
        load_backbone(resolve(f"hf:{vit}"), layer="encoder")


@torch.inference_mode()
@pytest.mark.parametrize("name", ["vit", "deit", "convnext", "resnet", "swin"])
def test_a_classifier_gives_the_logits_of_transformers_and_the_names_of_its_config(name: str, tmp_path: Path) -> None:
    network = saved(name, tmp_path)
    change_config(tmp_path, id2label={str(each): f"kind {each}" for each in range(5)})
    loaded = load_model(resolve(f"hf:{tmp_path}", "classify"), "classify")
    assert loaded.preprocess is not None
    images_BCHW = noise(*loaded.preprocess.size_px)
    seen_BCHW = images_BCHW[..., 4:36, 4:36] if name == "deit" else images_BCHW
    assert torch.allclose(loaded.module(images_BCHW), network(seen_BCHW).logits, atol=1e-5)
    assert loaded.classes is not None
    assert loaded.classes.names == tuple(f"kind {each}" for each in range(5))


@torch.inference_mode()
@pytest.mark.parametrize("name", CLASSIFIES)
def test_a_classifier_behind_its_processor_gives_what_transformers_gives(name: str, tmp_path: Path) -> None:
    network = saved(name, tmp_path)
    processor: Any = transformers.AutoImageProcessor.from_pretrained(tmp_path)
    coarse_BCHW = torch.rand(1, 3, 12, 16, generator=torch.Generator().manual_seed(0)) * 255
    pixels_CHW = torch.nn.functional.interpolate(coarse_BCHW, (90, 120), mode="bicubic").clamp(0, 255).byte()[0]
    expected_BK = network(**processor(pixels_CHW, return_tensors="pt")).logits
    loaded = load_model(resolve(f"hf:{tmp_path}", "classify"), "classify")
    assert loaded.preprocess is not None
    mean_C11, std_C11 = (torch.tensor(each).view(-1, 1, 1) for each in (loaded.mean, loaded.std))
    seen_CHW = (loaded.preprocess.applied_to(pixels_CHW) / 255 - mean_C11) / std_C11
    assert torch.allclose(loaded.module(seen_CHW[None]), expected_BK, atol=0.01 * float(expected_BK.std()))
    assert any(isinstance(each, Flipped) for each in loaded.module.modules()) == (name == "mobilevit")


@torch.inference_mode()
@pytest.mark.parametrize("name", SEGMENTS)
def test_segmentation_decides_as_transformers_does_at_the_size_of_the_picture(name: str, tmp_path: Path) -> None:
    network = saved(name, tmp_path)
    loaded = load_model(resolve(f"hf:{tmp_path}", "segment"), "segment")
    images_BCHW = noise(64, 96)
    logits_BKHW = loaded.module(images_BCHW)
    assert logits_BKHW.shape == (2, 4, 64, 96)
    processor = (
        transformers.Mask2FormerImageProcessor()
        if "former" in name and "seg" not in name
        else transformers.SegformerImageProcessor()
    )
    maps = processor.post_process_semantic_segmentation(network(images_BCHW), target_sizes=[(64, 96)] * 2)
    agreeing = (torch.stack(list(maps)) == logits_BKHW.argmax(1)).float().mean()
    assert agreeing > 0.98  # masks are compared after their sigmoid there, and a pixel between two classes may differ
    assert loaded.classes is not None
    assert len(loaded.classes.names) == 4


@torch.inference_mode()
@pytest.mark.parametrize("name", DEPTHS)
def test_depth_is_what_transformers_gives_in_its_unit(name: str, tmp_path: Path) -> None:
    network = saved(name, tmp_path)
    loaded = load_model(resolve(f"hf:{tmp_path}", "depth"), "depth")
    images_BCHW = noise(*((28, 56) if "anything" in name else (32, 32)))
    assert torch.allclose(loaded.module(images_BCHW)[:, 0], network(images_BCHW).predicted_depth, atol=1e-5)
    assert loaded.depth is not None
    assert loaded.depth.measure == ("inverse" if name in {"depth_anything", "dpt"} else "metres")
    assert loaded.size.multiple_px == {"depth_anything": 14, "depth_anything metric": 14, "dpt": 16}.get(name, 32)
    assert loaded.size.resize_px == {"dpt": (32, 32), "glpn": None, "zoedepth": 32}.get(name, 28)


def test_a_depth_network_that_does_not_say_its_unit_is_refused(tmp_path: Path) -> None:
    saved("dpt", tmp_path)
    change_config(tmp_path, backbone_config={"model_type": "dinov2"})
    with pytest.raises(ModelError, match="may give metres or inverse depth, and its config does not say which"):
        resolve(f"hf:{tmp_path}", "depth")


# ------------------------------------------------------------------------------------------------------------- identity


def test_a_folder_is_identified_by_its_content_and_not_its_path(vit: Path, tmp_path: Path) -> None:
    shutil.copytree(vit, tmp_path / "elsewhere")
    (tmp_path / "elsewhere" / "README.md").write_text("of no matter")
    first = resolve(f"hf:{vit}").identity
    assert resolve(f"hf:{tmp_path / 'elsewhere'}").identity == first
    assert load_model(resolve(f"hf:{vit}", "classify"), "classify").weights_sha256 == first["weights_sha256"]
    for name in ("model.safetensors", "config.json", "preprocessor_config.json"):
        shutil.copytree(vit, tmp_path / name)
        contents = (tmp_path / name / name).read_bytes()
        is_json = name.endswith(".json")
        other = contents + b" " if is_json else contents[:-1] + bytes([contents[-1] ^ 1])
        (tmp_path / name / name).write_bytes(other)
        assert resolve(f"hf:{tmp_path / name}").identity != first, name


def test_a_name_of_the_hub_is_complete_with_its_commit_alone() -> None:
    assert resolve(f"hf:facebook/dinov2-base@{COMMIT}").identity == {"model": f"hf:facebook/dinov2-base@{COMMIT}"}
    for name in ("facebook/dinov2-base", "facebook/dinov2-base@main", "facebook/dinov2-base@0123456"):
        with pytest.raises(ModelError, match="what a name or a branch holds can change"):
            resolve(f"hf:{name}")
    for name in ("", "../up", "a/b/c@" + COMMIT, "/nowhere/at/all"):
        with pytest.raises(ModelError, match="is neither a folder here nor a name like OWNER/NAME"):
            resolve(f"hf:{name}")


def test_a_commit_comes_from_the_cache_and_a_missing_one_gets_advice(
    vit: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The layout of the hub's cache: contents under blobs/, and links to them in the folder of a commit."""
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(ModelError, match=r"could not be fetched.*where there is no network put config\.json"):
        load_backbone(resolve(f"hf:some/vit@{COMMIT}"))
    blobs, snapshot = (tmp_path / "hub/models--some--vit" / name for name in ("blobs", f"snapshots/{COMMIT}"))
    blobs.mkdir(parents=True)
    snapshot.mkdir(parents=True)
    for number, file in enumerate(vit.iterdir()):
        shutil.copy(file, blobs / str(number))
        (snapshot / file.name).symlink_to(f"../../blobs/{number}")
    loaded = load_backbone(resolve(f"hf:some/vit@{COMMIT}"))
    assert torch.equal(
        loaded.network.module(noise(32, 32)), load_backbone(resolve(f"hf:{vit}")).network.module(noise(32, 32))
    )


def test_a_name_is_resolved_without_importing_torch_or_transformers(vit: Path) -> None:
    code = (
        "import sys; from pixelmill.workers.models.libraries import resolve; resolve('hf:"
        + str(vit)
        + "', 'classify'); "
        "print({'torch', 'torchvision', 'transformers'} & set(sys.modules))"
    )
    printed = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert printed.strip() == "set()"


# ---------------------------------------------------------------------------------------------------- what is not whole


def change_weights(folder: Path, change: Any) -> None:
    state = load_file(folder / "model.safetensors")
    change(state)
    save_file(state, folder / "model.safetensors")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda state: state.pop("classifier.weight"), "missing classifier.weight"),
        (lambda state: state.update({"extra.weight": torch.zeros(2)}), "unexpected extra.weight"),
        (lambda state: state.update({"classifier.weight": torch.zeros(6, 16)}), "RuntimeError"),
        (lambda state: state["classifier.bias"].fill_(torch.nan), "classifier.bias hold values that are no numbers"),
    ],
)
def test_weights_that_are_not_those_of_the_network_are_refused_by_name(vit: Path, change: Any, words: str) -> None:
    change_weights(vit, change)
    with pytest.raises(ModelError, match=words):
        load_model(resolve(f"hf:{vit}", "classify"), "classify")


def test_an_encoder_may_leave_a_head_and_nothing_else(vit: Path) -> None:
    change_weights(vit, lambda state: state.update({"extra.weight": torch.zeros(2)}))
    with pytest.raises(ModelError, match=r"unexpected extra\.weight; "):
        load_backbone(resolve(f"hf:{vit}"))


@pytest.mark.parametrize(
    ("name", "task", "words"),
    [
        ("vit", "segment", "holds the network ViTForImageClassification, which can't segment; it can classify, embed"),
        (
            "segformer",
            "depth",
            "holds the network SegformerForSemanticSegmentation, which can't estimate depth; it can segment",
        ),
        ("dinov2", "classify", "holds the network Dinov2Model, which can't classify; it can embed"),
        ("segformer", "embed", "a SegformerForSemanticSegmentation can't embed here; those that can are clip"),
        ("vit", "upscale", "can't upscale"),
    ],
)
def test_a_network_for_another_task_is_refused_before_anything_is_loaded(
    name: str, task: Task, words: str, tmp_path: Path
) -> None:
    saved(name, tmp_path)
    with pytest.raises(ModelError) as raised:
        resolve(f"hf:{tmp_path}", task)
    assert words in str(raised.value)


# --------------------------------------------------------------------------------------------------------------- attacks


class Bomb:
    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.marker),)

    def __init__(self, marker: Path) -> None:
        self.marker = marker


def test_a_folder_that_does_not_say_how_pictures_are_prepared_is_refused_before_anything_is_loaded(vit: Path) -> None:
    processor = json.loads((vit / "preprocessor_config.json").read_text())
    (vit / "preprocessor_config.json").write_text(json.dumps(processor | {"image_std": [0, 0, 0]}))
    with pytest.raises(ModelError, match="image_std"):
        resolve(f"hf:{vit}", "classify")
    (vit / "preprocessor_config.json").unlink()
    with pytest.raises(ModelError, match=r"has no preprocessor_config\.json"):
        resolve(f"hf:{vit}", "classify")


def test_a_pickle_is_never_loaded_and_the_way_to_convert_it_is_reported(vit: Path, tmp_path: Path) -> None:
    marker = tmp_path / "ran"
    (vit / "pytorch_model.bin").write_bytes(pickle.dumps(Bomb(marker)))
    load_model(resolve(f"hf:{vit}", "classify"), "classify")  # beside safetensors it is not looked at
    (vit / "model.safetensors").unlink()
    with pytest.raises(ModelError, match=r"has pytorch_model\.bin and no model\.safetensors: a pickle can run code"):
        resolve(f"hf:{vit}", "classify")
    shutil.copy(vit / "pytorch_model.bin", vit / "model.safetensors")
    with pytest.raises(ModelError, match="not a whole safetensors file"):
        load_model(resolve(f"hf:{vit}", "classify"), "classify")
    assert not marker.exists()


def test_code_that_a_config_names_is_not_imported(vit: Path, tmp_path: Path) -> None:
    marker = tmp_path / "ran"
    code = f"import os\nos.mkdir({str(marker)!r})\nclass Net: pass\n"
    for name in ("modeling.py", "configuration.py", "processing.py", "__init__.py"):
        (vit / name).write_text(code)
    change_config(
        vit,
        auto_map={"AutoConfig": "configuration.Net", "AutoModelForImageClassification": "modeling.Net"},
        custom_pipelines={"classify": {"impl": "modeling.Net"}},
        attn_implementation="someone/kernels",
        _attn_implementation="someone/kernels",
    )
    processor = json.loads((vit / "preprocessor_config.json").read_text())
    (vit / "preprocessor_config.json").write_text(
        json.dumps(processor | {"auto_map": {"AutoImageProcessor": "processing.Net"}})
    )
    before = set(sys.modules)
    loaded = load_model(resolve(f"hf:{vit}", "classify"), "classify")
    assert loaded.module(noise(32, 32)).shape == (2, 5)
    load_backbone(resolve(f"hf:{vit}"))
    assert not marker.exists()
    assert not [name for name in set(sys.modules) - before if "transformers_modules" in name or name == "modeling"]


@pytest.mark.parametrize("name", ["clip", "maskformer", "depth_anything", "zoedepth"])
def test_a_folder_makes_no_connection(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    saved(name, tmp_path)

    def refused(*_: object) -> None:
        raise AssertionError("a connection was made")

    for function in ("connect", "connect_ex", "sendto"):
        monkeypatch.setattr(socket.socket, function, refused)
    monkeypatch.setattr(socket, "getaddrinfo", refused)
    tasks: dict[str, Task] = {"clip": "embed", "maskformer": "segment"}
    task = tasks.get(name, "depth")
    resolved = resolve(f"hf:{tmp_path}", task)
    assert load_backbone(resolved) if task == "embed" else load_model(resolved, task)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"architectures": ["os.system"]}, "which can't classify"),
        ({"architectures": ["TrainerForImageClassification"]}, "has no TrainerForImageClassification for the kind vit"),
        ({"model_type": "no_such"}, "has no ViTForImageClassification for the kind no_such"),
        ({"model_type": None}, "states no model_type"),
        ({"quantization_config": {"quant_method": "hqq"}}, "its weights are quantized"),
        ({"backbone": "someone/else"}, "its backbone is another model"),
        ({"use_timm_backbone": True}, "its backbone is a model of timm"),
        ({"hidden_size": 1 << 40}, "larger than any size of a network"),
        ({"hidden_size": 1 << 19}, "more than twice the .* tensors or the size of its weights"),
        ({"num_hidden_layers": 1 << 19}, "more than twice the .* tensors or the size of its weights"),
        ({"hidden_size": "wide"}, "transformers can't build it"),
        ({"id2label": {"7": "seven"}}, "does not number its classes from 0|can't build it|not those"),
        ({"image_size": 100_000}, "image_size of its config.json is 100000; a side has 1 to 4096 px"),
        ({"patch_size": [8, 0]}, "patch_size of its config.json is 0"),
        ({"image_size": 64}, "gives .32, 32. px and its network takes .64, 64|not those|can't build"),
    ],
)
def test_a_config_that_asks_for_more_than_its_network_is_refused(vit: Path, changes: Any, words: str) -> None:
    change_config(vit, **changes)
    with pytest.raises(ModelError, match=words):
        load_model(resolve(f"hf:{vit}", "classify"), "classify")


def test_a_link_out_of_the_folder_is_refused(vit: Path, tmp_path: Path) -> None:
    for name in ("config.json", "preprocessor_config.json", "model.safetensors"):
        folder = tmp_path / f"linked {name}"
        shutil.copytree(vit, folder)
        shutil.move(folder / name, tmp_path / name)
        (folder / name).symlink_to(tmp_path / name)
        with pytest.raises(ModelError, match=rf"{name} is a link out of"):
            load_model(resolve(f"hf:{folder}", "classify"), "classify")


def test_the_licence_is_that_of_its_readme(tmp_path: Path) -> None:
    saved("vit", tmp_path, readme="---\nlicense: cc-by-nc-4.0\n---\n# A model\n")
    assert load_model(resolve(f"hf:{tmp_path}", "classify"), "classify").licence == "cc-by-nc-4.0"
    assert load_backbone(resolve(f"hf:{tmp_path}")).network.licence == "cc-by-nc-4.0"
