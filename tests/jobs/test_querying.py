"""Rows near a picture or a sentence: the network of the run reads the query, and nothing else may."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import pyarrow.parquet as pq
import pytest
import skimage.data
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from typer.testing import CliRunner

from pixelmill.jobs import cli
from pixelmill.jobs.job import check_document
from pixelmill.pipelines.inputs.entries import Source
from pixelmill.pipelines.stores.access import Access
from pixelmill.pipelines.stores.folder import Folder
from pixelmill.workers.errors import JobError, RowError
from tests.in_process_run import Job, live
from tests.jobs.conftest import model_file
from tests.workers.models.libraries.test_open_clip import CONFIG, SHOWN, saved

NAMES = ("astronaut", "cat", "coffee", "rocket")


def embedded(root: Path, stages: list[object]) -> Folder:
    """A finished run of these stages over four photographs, made in this process."""
    (root / "in").mkdir(exist_ok=True)
    for name in NAMES:
        Image.fromarray(getattr(skimage.data, name)()).resize((96, 96)).save(root / "in" / f"{name}.png")
    out = Folder(str(root / "out"), Access(retry_for_s=0.0))
    job = check_document(
        {"version": 1, "source": str(root / "in"), "out": out.uri, "stages": stages}, name="job", environment={}
    )
    out.publish("_run/spec.yaml", job.to_yaml().encode())
    out.publish("_run/identity.json", json.dumps(job.identity()).encode())
    live(Job(Source((str(root / "in"),)), out, tuple(job.spec.configs), row_bytes=None, max_pixels=1_000_000))
    return out


def typed(*words: str) -> Any:
    done = CliRunner().invoke(cli.app, [*words, "--json"], catch_exceptions=False)
    return json.loads(done.stdout)


def test_a_picture_finds_itself_first_by_the_network_of_the_run(tmp_path: Path) -> None:
    out = embedded(tmp_path, [{"embed": {"model": str(model_file(tmp_path / "models"))}}])
    for name in ("cat", "rocket"):
        rows = typed("neighbors", out.uri, "--image", str(tmp_path / "in" / f"{name}.png"), "-k", "2")
        assert rows[0]["uri"].endswith(f"/{name}.png")
        assert rows[0]["cosine"] == pytest.approx(1, abs=2e-3)
        assert rows[1]["cosine"] < 0.999


def test_a_picture_is_not_compared_by_other_weights_than_those_of_the_run(tmp_path: Path) -> None:
    model = model_file(tmp_path / "models")
    out = embedded(tmp_path, [{"embed": {"model": str(model)}}])
    save_file({name: values * 1.001 for name, values in load_file(model).items()}, model)
    with pytest.raises(JobError, match="was made with other weights"):
        typed("neighbors", out.uri, "--image", str(tmp_path / "in/cat.png"))


def test_a_file_that_is_no_picture_is_a_plain_word(tmp_path: Path) -> None:
    out = embedded(tmp_path, [{"embed": {"model": str(model_file(tmp_path / "models"))}}])
    (tmp_path / "notes.jpg").write_text("not a picture")
    with pytest.raises(RowError, match=r"notes.jpg"):
        typed("neighbors", out.uri, "--image", str(tmp_path / "notes.jpg"))


def test_words_find_the_pictures_whose_vectors_lie_nearest(tmp_path: Path) -> None:
    network = saved(tmp_path / "clip", CONFIG, SHOWN)
    out = embedded(tmp_path, [{"embed": {"model": f"open_clip:local-dir:{tmp_path / 'clip'}"}}])
    rows = typed("search", out.uri, "a cat on a sofa", "-k", "4")
    tokens = open_clip.SimpleTokenizer(context_length=16)(["a cat on a sofa"])
    with torch.inference_mode():
        text_D = network.encode_text(tokens, normalize=True)[0].numpy()
    table = pq.read_table(f"{out.uri}/data")
    vectors_ND = np.array(table["embedding"].to_pylist(), np.float32)
    cosines_N = vectors_ND @ text_D / np.linalg.norm(vectors_ND, axis=1)
    found = {row["id"]: row["cosine"] for row in rows}
    assert found == pytest.approx(dict(zip(table["id"].to_pylist(), cosines_N.tolist(), strict=True)), abs=1e-4)
    assert list(found.values()) == sorted(found.values(), reverse=True)
    with pytest.raises(JobError, match="the text is empty"):
        typed("search", out.uri, "  ")


def test_a_run_whose_model_knows_no_words_says_which_would(tmp_path: Path) -> None:
    out = embedded(tmp_path, ["embed"])
    with pytest.raises(JobError, match=r"which knows no words; embed with a model of open_clip"):
        typed("search", out.uri, "a cat")
