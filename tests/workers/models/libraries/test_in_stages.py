"""A model of each library goes through the stage that asks for its task, over pictures of two sizes, in this process."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import open_clip
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import timm
import torch
from onnx import helper
from PIL import Image
from safetensors.torch import save_file
from spandrel.architectures.Compact.__arch.SRVGG import SRVGGNetCompact
from timm.models import save_for_hf
from torch import nn

from pixelmill.pipelines.inputs.entries import Source
from pixelmill.pipelines.stores.access import Access
from pixelmill.pipelines.stores.folder import Folder
from pixelmill.workers.stages import StageConfig, config_class
from tests.in_process_run import Job, live
from tests.mills import write
from tests.workers import onnx_files, tiny_transformers

SIZES = [(24, 18), (24, 18), (17, 30)]


def done_by(folder: Path, stage: str, **options: Any) -> dict[str, list[Any]]:
    """The columns of a run over pictures of SIZES, whose stage has these options."""
    for number, size in enumerate(SIZES):
        write(folder / "in", f"{number}.png", (200, 90, 40), size)
    config: StageConfig = config_class(stage).model_validate(options)
    assert config.identity()
    out = Folder(str(folder / "out"), Access(retry_for_s=0.0))
    account = live(Job(Source((str(folder / "in"),)), out, (config,)))
    assert (account.done, account.failed) == (len(SIZES), 0)
    tables = [pq.read_table(path) for path in sorted((folder / "out" / "data").glob("*.parquet"))]
    return pa.concat_tables(tables).sort_by("uri").to_pydict()


def sizes_of(column: list[dict[str, Any]]) -> list[tuple[int, int]]:
    return [Image.open(io.BytesIO(value["bytes"])).size for value in column]


def state_of(network: nn.Module, file: Path) -> Path:
    save_file({name: tensor.clone().contiguous() for name, tensor in network.state_dict().items()}, file)
    return file


def in_timm(folder: Path) -> str:
    save_for_hf(timm.create_model("resnet10t", num_classes=7), folder / "m", safe_serialization=True)
    return f"timm:local-dir:{folder / 'm'}"


def in_transformers(folder: Path) -> str:
    tiny_transformers.saved("dinov2", folder / "m")
    return f"hf:{folder / 'm'}"


def in_open_clip(folder: Path) -> str:
    towers: dict[str, Any] = {
        "embed_dim": 16,
        "vision_cfg": {"image_size": 32, "layers": 1, "width": 32, "head_width": 16, "patch_size": 8},
        "text_cfg": {"context_length": 16, "vocab_size": 99, "width": 16, "heads": 2, "layers": 1},
    }
    (folder / "m").mkdir()
    state_of(open_clip.CLIP(**towers), folder / "m" / "open_clip_model.safetensors")
    (folder / "m" / "open_clip_config.json").write_text(json.dumps({"model_cfg": towers}))
    return f"open_clip:local-dir:{folder / 'm'}"


def in_onnx(folder: Path) -> str:
    nodes = [helper.make_node("GlobalAveragePool", ["x"], ["z"]), helper.make_node("Flatten", ["z"], ["y"])]
    taken = onnx_files.CARD["input"] | {"size_px": 16}
    card: dict[str, Any] = {"task": "embed", "input": taken, "output": {"meaning": "vectors"}, "classes": None}
    return f"onnx:{onnx_files.saved(folder, onnx_files.model_of(nodes, ('b', 3, 'h', 'w'), ('b', 3)), **card)}"


def _named(value: object) -> str:
    """The same in every process: neither an address nor the order of a set."""
    if isinstance(value, set | frozenset):
        return f"{len(value)} classes"
    return getattr(value, "__name__", str(value))


@pytest.mark.parametrize(
    ("saved", "dim"),
    [(in_timm, 512), (in_transformers, 16), (in_open_clip, 16), (in_onnx, 3)],
    ids=_named,
)
def test_embed_takes_an_encoder_of_each_library(saved: Callable[[Path], str], dim: int, tmp_path: Path) -> None:
    made = done_by(tmp_path, "embed", model=saved(tmp_path))
    assert [len(vector) for vector in made["embedding"]] == [dim] * len(SIZES)
    assert made["embedding"][0] == pytest.approx(made["embedding"][1], rel=1e-3, abs=1e-5)


def onnx_classifier(folder: Path) -> str:
    in_onnx(folder)
    card: dict[str, Any] = {"task": "classify", "input": onnx_files.CARD["input"] | {"size_px": 16}}
    (folder / "net.json").write_text(json.dumps(onnx_files.CARD | card | {"classes": ["red", "green", "blue"]}))
    return f"onnx:{folder / 'net.onnx'}"


def transformers_classifier(folder: Path) -> str:
    tiny_transformers.saved("vit", folder / "m")
    return f"hf:{folder / 'm'}"


CLASSIFIERS = [(in_timm, {str(each) for each in range(7)}), (onnx_classifier, {"red", "green", "blue"})]


@pytest.mark.parametrize(
    ("saved", "names"), [*CLASSIFIERS, (transformers_classifier, {f"LABEL_{each}" for each in range(5)})], ids=_named
)
def test_classify_takes_a_classifier_of_each_library(
    saved: Callable[[Path], str], names: set[str], tmp_path: Path
) -> None:
    made = done_by(tmp_path, "classify", model=saved(tmp_path))
    for found, scores in zip(made["class_name"], made["class_score"], strict=True):
        assert set(found) <= names
        assert len(found) == min(5, len(names))
        assert scores == sorted(scores, reverse=True)


@pytest.mark.parametrize("name", ["segformer", "mask2former"])
def test_segment_makes_masks_of_pictures_of_any_size(name: str, tmp_path: Path) -> None:
    tiny_transformers.saved(name, tmp_path / "m")
    made = done_by(tmp_path, "segment", model=f"hf:{tmp_path / 'm'}")
    assert sizes_of(made["mask"]) == SIZES
    assert [sum(fractions) for fractions in made["class_fraction"]] == pytest.approx([1] * len(SIZES))


def test_segment_takes_a_network_in_onnx(tmp_path: Path) -> None:
    file = onnx_files.saved(tmp_path, onnx_files.convolution(), reach_px=1, tiling="exact")
    made = done_by(tmp_path, "segment", model=f"onnx:{file}")
    assert sizes_of(made["mask"]) == SIZES


@pytest.mark.parametrize(
    ("name", "column"), [("depth_anything", "inverse_depth"), ("zoedepth", "depth_m"), ("dpt", "inverse_depth")]
)
def test_depth_is_in_the_unit_of_its_model(name: str, column: str, tmp_path: Path) -> None:
    tiny_transformers.saved(name, tmp_path / "m")
    made = done_by(tmp_path, "depth", model=f"hf:{tmp_path / 'm'}")
    assert sizes_of(made[column]) == SIZES
    assert all(near <= far for near, far in zip(made[f"{column}_near"], made[f"{column}_far"], strict=True))


def test_upscale_takes_a_network_of_spandrel(tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = SRVGGNetCompact(num_in_ch=3, num_out_ch=3, num_feat=8, num_conv=2, upscale=2)
    made = done_by(tmp_path, "upscale", model=f"spandrel:{state_of(network, tmp_path / 'x2.safetensors')}", scale=2)
    assert sizes_of(made["upscaled"]) == [(2 * width, 2 * height) for width, height in SIZES]
