"""The laws of model names: each is complete, known before torch is imported, and a misspelt one is answered."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torchvision

from pixelmill.workers.errors import ModelError
from pixelmill.workers.models import model_names
from pixelmill.workers.models.libraries import resolve
from pixelmill.workers.models.libraries.checkpoint import ENCODING
from pixelmill.workers.models.libraries.timm import timm_models
from pixelmill.workers.models.libraries.torchvision import torchvision_models
from pixelmill.workers.models.model_names import DEFAULT_MODEL, ModelName
from pixelmill.workers.models.tasks import Task
from pixelmill.workers.models.zoo import ZOO

ROOT = Path(__file__).parents[3]
OURS = sorted(path.stem for path in ZOO.glob("*.safetensors"))


def test_what_torchvision_offers_is_read_from_its_source_as_torchvision_says_it() -> None:
    offered = set(torchvision.models.list_models(module=torchvision.models))
    assert offered <= set(torchvision_models())
    for name in offered:
        published = torchvision.models.get_model_weights(name)
        assert {key: published[key].name for key in published.__members__} == torchvision_models()[name]


def test_a_name_is_resolved_without_importing_torch() -> None:
    code = (
        "import sys; from pixelmill.workers.models.libraries import resolve; resolve('torchvision:resnet50'); "
        "resolve('timm:resnet18/random'); resolve('open_clip:ViT-B-32/openai'); resolve('hf:a/b@' + 40 * '0', 'depth'); "
        "print({'torch', 'torchvision', 'timm', 'open_clip', 'transformers'} & set(sys.modules))"
    )
    printed = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert printed.strip() == "set()"


@pytest.mark.parametrize(
    ("written", "complete"),
    [
        ("torchvision:resnet50", "torchvision:resnet50/IMAGENET1K_V2"),
        ("torchvision:resnet50/DEFAULT", "torchvision:resnet50/IMAGENET1K_V2"),
        ("torchvision:resnet50/IMAGENET1K_V1", "torchvision:resnet50/IMAGENET1K_V1"),
        ("torchvision:vit_b_16/IMAGENET1K_SWAG_E2E_V1", "torchvision:vit_b_16/IMAGENET1K_SWAG_E2E_V1"),
        ("torchvision:resnet18/random", "torchvision:resnet18/random"),
        ("timm:resnet18", "timm:resnet18/pretrained"),
        ("timm:resnet18.a1_in1k", "timm:resnet18.a1_in1k/pretrained"),
        ("timm:resnet18/random", "timm:resnet18/random"),
        ("open_clip:ViT-B-32/OpenAI", "open_clip:ViT-B-32/openai"),
        ("open_clip:ViT-B-32/laion2b_s34b_b79k", "open_clip:ViT-B-32/laion2b_s34b_b79k"),
    ],
)
def test_nothing_is_left_to_a_default(written: str, complete: str) -> None:
    assert resolve(written).identity == {"model": complete}
    assert resolve(complete).identity == {"model": complete}


@pytest.mark.parametrize(
    ("written", "words"),
    [
        ("torchvision:resnet51", "torchvision has no classification model resnet51 (did you mean resnet50 or"),
        ("torchvision:", "torchvision has no classification model"),
        ("torchvision:fcn_resnet50", "has no classification model fcn_resnet50"),
        (
            "torchvision:resnet50/IMAGENET",
            "resnet50 has no weights IMAGENET; it has IMAGENET1K_V1, IMAGENET1K_V2, random",
        ),
        ("timm:resnt18", "timm has no model resnt18 (did you mean resnet18"),
        ("timm:resnet18/IMAGENET1K_V1", "timm names weights after a dot"),
        ("resnet50", "model resnet50: unknown; write torchvision:NAME"),
        ("autoencoder-foto", f"did you mean {DEFAULT_MODEL}"),
        ("gone.safetensors", "no such file; a checkpoint is NAME.safetensors with NAME.json beside it"),
        ("hub:resnet50", "model hub:resnet50: unknown"),
    ],
)
def test_a_misspelt_model_gets_the_existing_names(written: str, words: str) -> None:
    with pytest.raises(ModelError) as raised:
        resolve(written)
    assert words in str(raised.value)


@pytest.mark.parametrize("suffix", [".pt", ".pth", ".ckpt", ".bin", ".pkl"])
def test_a_pickle_is_refused_with_the_way_to_convert_it(tmp_path: Path, suffix: str) -> None:
    (tmp_path / f"model{suffix}").write_bytes(b"anything")
    with pytest.raises(ModelError, match=r"a pickle can run code when it is loaded.*safetensors\.torch\.save_file"):
        resolve(str(tmp_path / f"model{suffix}"))


def test_ours_with_an_encoder_embed_and_the_others_are_refused_before_anything_is_loaded() -> None:
    networks = {name: json.loads((ZOO / f"{name}.json").read_text())["network"] for name in OURS}
    without = {name for name, network in networks.items() if network in {"vdsr", "faststyle", "crn"}}
    for name in {*OURS} - without:
        found = resolve(name)
        assert (found.library, found.name) == ("file", name)
        assert found.path == ZOO / f"{name}.safetensors"
    for name in without:
        with pytest.raises(ModelError, match=rf"{name}: holds the network {networks[name]}, which can't embed; "):
            resolve(name)
    assert without == set(OURS) - {DEFAULT_MODEL} - {name for name in OURS if networks[name] in ENCODING}


def test_volumes_are_refused_before_anything_is_loaded(tmp_path: Path) -> None:
    shutil.copy(ZOO / f"{DEFAULT_MODEL}.safetensors", tmp_path / "cubes.safetensors")
    card = json.loads((ZOO / f"{DEFAULT_MODEL}.json").read_text())
    (tmp_path / "cubes.json").write_text(json.dumps(card | {"config": card["config"] | {"dims": 3}}))
    with pytest.raises(
        ModelError, match=r"its autoencoder takes volumes, and stages take pictures; take one with dims 2"
    ):
        resolve(str(tmp_path / "cubes.safetensors"))


@pytest.mark.parametrize(
    ("card", "words"),
    [
        ("[1, 2", r"mine\.json can't be read as JSON"),
        ("[1, 2]", r"mine\.json is no JSON object; fetch the model again"),
        ("{}", "its card names no network; take the card that came with the weights"),
    ],
)
def test_a_card_of_no_network_is_refused_before_anything_is_loaded(tmp_path: Path, card: str, words: str) -> None:
    shutil.copy(ZOO / f"{DEFAULT_MODEL}.safetensors", tmp_path / "mine.safetensors")
    (tmp_path / "mine.json").write_text(card)
    with pytest.raises(ModelError, match=words):
        resolve(str(tmp_path / "mine.safetensors"))


def test_a_checkpoint_that_is_cut_is_refused_before_it_is_loaded(tmp_path: Path) -> None:
    contents = (ZOO / f"{DEFAULT_MODEL}.safetensors").read_bytes()
    (tmp_path / "cut.safetensors").write_bytes(contents[: len(contents) // 2])
    shutil.copy(ZOO / f"{DEFAULT_MODEL}.json", tmp_path / "cut.json")
    with pytest.raises(
        ModelError, match=r"cut\.safetensors: not a whole safetensors file .*; fetch or convert it again"
    ):
        resolve(str(tmp_path / "cut.safetensors"))


def test_a_file_is_identified_by_its_content_and_not_its_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    original = ZOO / f"{DEFAULT_MODEL}.safetensors"
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        shutil.copy(original, tmp_path / folder / original.name)
        shutil.copy(original.with_suffix(".json"), tmp_path / folder)
    first = resolve(str(tmp_path / "a" / original.name))
    monkeypatch.chdir(tmp_path)
    second = resolve(f"b/{original.name}")
    assert first.identity == second.identity == resolve(DEFAULT_MODEL).identity
    assert second.path == tmp_path / "b" / original.name
    contents = (tmp_path / "b" / original.name).read_bytes()
    (tmp_path / "b" / original.name).write_bytes(contents[:-1] + bytes([contents[-1] ^ 1]))
    assert resolve(f"b/{original.name}").identity != first.identity


def test_a_folder_is_a_checkpoint_when_it_holds_one(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no such file"):
        resolve(str(tmp_path))
    shutil.copy(ZOO / f"{DEFAULT_MODEL}.safetensors", tmp_path / "model.safetensors")
    shutil.copy(ZOO / f"{DEFAULT_MODEL}.json", tmp_path / "card.json")
    assert resolve(str(tmp_path)).sha256 == resolve(DEFAULT_MODEL).sha256


@pytest.mark.parametrize(
    ("written", "task", "extra"),
    [
        ("timm:resnet18", "embed", "timm"),
        ("hf:folder", "segment", "hf"),
        ("spandrel:x4.safetensors", "upscale", "spandrel"),
        ("open_clip:ViT-B-32/openai", "embed", "open_clip"),
        ("onnx:net.onnx", "depth", "onnx"),
    ],
)
def test_a_library_that_is_not_installed_is_named_with_its_install_command(
    written: str, task: Task, extra: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pixelmill.workers.models.folders.find_spec", lambda _: None)
    with pytest.raises(ModelError, match=rf"is not installed: pip install 'pixelmill\[{extra}\]'"):
        resolve(written, task)


def test_what_timm_offers_is_read_from_its_source_as_timm_says_it() -> None:
    timm = pytest.importorskip("timm")
    assert set(timm.list_models()) <= set(timm_models())


def test_names_of_different_networks_are_different() -> None:
    written = ["torchvision:resnet18", "torchvision:resnet18/random", "timm:resnet18", "timm:resnet18/random"]
    assert len({str(resolve(name).identity) for name in written}) == 4
    assert ModelName("timm", "resnet18", "random") == resolve("timm:resnet18/random")


@pytest.mark.parametrize(
    ("weights", "card", "written"),
    [
        ("mine.safetensors", "mine.json", "mine.safetensors"),
        ("model.safetensors", "card.json", "model.safetensors"),
        ("mine.safetensors", "card.json", "mine.safetensors"),
        ("model.safetensors", "card.json", "."),
        ("mine.safetensors", "mine.json", "."),
        ("mine.safetensors", "card.json", "."),
    ],
)
def test_weights_find_their_card(tmp_path: Path, weights: str, card: str, written: str) -> None:
    from pixelmill.workers.models.card import read_card
    from pixelmill.workers.models.checkpoint import load_checkpoint

    folder = tmp_path / "run"
    folder.mkdir()
    shutil.copy(ZOO / f"{DEFAULT_MODEL}.safetensors", folder / weights)
    shutil.copy(ZOO / f"{DEFAULT_MODEL}.json", folder / card)
    path = folder if written == "." else folder / written
    assert resolve(str(path)).sha256 == resolve(DEFAULT_MODEL).sha256
    assert load_checkpoint(path)[1] == read_card(ZOO / f"{DEFAULT_MODEL}.safetensors")


def test_a_card_of_its_own_name_comes_first_and_a_missing_one_is_named(tmp_path: Path) -> None:
    for name in ("mine.safetensors", "mine.json", "card.json"):
        (tmp_path / name).write_bytes(b"{}")
    assert model_names.checkpoint_files(tmp_path / "mine.safetensors")[1].name == "mine.json"
    (tmp_path / "other.safetensors").write_bytes(b"")
    assert model_names.checkpoint_files(tmp_path) == (tmp_path / "model.safetensors", tmp_path / "card.json")
    (tmp_path / "card.json").unlink()
    with pytest.raises(ModelError, match=r"its card other\.json is missing beside other\.safetensors"):
        resolve(str(tmp_path / "other.safetensors"))
