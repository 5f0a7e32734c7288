"""The example of a chain: what it plans, and, where there is time, that it runs over one fetch and one decode of each input."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pixelmill.jobs import dry_run, spec
from pixelmill.jobs.job import Job, read_job
from pixelmill.jobs.opened_run import OpenedRun
from pixelmill.jobs.surroundings import Surroundings
from tests.support import Home, Output, assert_every_input_in_one_row, pictures, pixelmill

CHAIN = Path(spec.__file__).parent / "examples/chain.yaml"
PICTURES, BROKEN = 3, 1


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    pictures(tmp_path / "photos", PICTURES)
    (tmp_path / "photos/broken.jpg").write_bytes(b"x")
    return tmp_path / "photos"


def chain(photos: Path, out: Path) -> Job:
    overrides = [f"source={photos}", f"out={out}"]
    return read_job(CHAIN.read_text(), name="chain.yaml", overrides=overrides, environment={})


def test_a_plan_shows_each_stage_with_what_it_reads_its_model_and_its_columns(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for config in chain(photos, tmp_path / "out").spec.configs:  # as for workers elsewhere: nothing is tried
        described = type(config).describe
        monkeypatch.setattr(
            type(config), "describe", lambda self, context, here, f=described: f(self, context, here=False)
        )
    dry_run.show_plan(chain(photos, tmp_path / "out"), Surroundings({}, io.StringIO(), False, None, 0.0))
    shown = capsys.readouterr().out
    for stage, model, columns in (
        ("upscale of the original picture", "vdsr-t91", "upscaled"),
        ("segment of the picture of upscale", "segnet-camvid", "mask"),
        ("depth of the picture of upscale", "monodepth-kitti", "disparity_px"),
        ("embed of the picture of upscale", "autoencoder-photos", "embedding"),
    ):
        line, *more = shown[shown.index(stage) :].splitlines()
        assert model in line
        assert any(columns in text for text in [line, *more[:3]])
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_chain_runs_and_its_pictures_are_files(user: Home, photos: Path, tmp_path: Path) -> None:
    out, to = tmp_path / "out", tmp_path / "to"
    given = ["--set", f"source={photos}", "--set", f"out={out}", "--set", "run.max_failed_fraction=1"]
    ended = pixelmill(user, "run", str(CHAIN), *given)
    assert ended.code == 3, ended.stderr
    assert_every_input_in_one_row(Output(str(out)), inputs=PICTURES + BROKEN)
    run = OpenedRun.at(str(out))
    sizes = {
        column: {picture.size for _, _, picture in run.pictures(column)}
        for column in ("upscaled", "mask", "disparity_px")
    }
    assert sizes == {column: {(192, 144)} for column in sizes}
    assert run.table(["embedding"]).num_rows == PICTURES
    exported = pixelmill(user, "export", str(out), str(to), "--format", "npz")
    assert exported.code == 0, exported.stderr
    assert f"{3 * PICTURES} pictures" in exported.stdout
    (first, *_) = sorted((to / "disparity_px").iterdir())
    values = np.load(first)["values"]
    assert (values.dtype, values.shape) == (np.float32, (144, 192))
    assert Image.fromarray(np.load(to / "upscaled" / first.name)["values"]).size == (192, 144)
