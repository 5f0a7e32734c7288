"""What stages name beside the inputs is read once, before anything starts, and is part of what a run is known by."""

from __future__ import annotations

from pathlib import Path

import fsspec
import pytest
from PIL import Image

from pixelmill.jobs.job import Job, check_document
from pixelmill.workers.errors import JobError
from tests.saved_networks import saved, saved_vgg


def job(**stage: object) -> Job:
    document: dict[str, object] = {"version": 1, "source": "in", "out": "out", "stages": [{"stylize": stage}]}
    return check_document(document, name="job.yaml", environment={})  # type: ignore[arg-type]


def stored(name: str, data: bytes) -> str:
    """A file in the memory of this process, which fsspec serves as any other store."""
    with fsspec.open(f"memory://{name}", "wb") as file:
        file.write(data)  # type: ignore[union-attr]
    return f"memory://{name}"


@pytest.fixture
def painting(tmp_path: Path) -> Path:
    Image.new("RGB", (8, 8), "red").save(tmp_path / "red.png")
    return tmp_path / "red.png"


def test_a_painting_and_weights_on_a_store_are_the_same_run_as_on_disk(painting: Path) -> None:
    here = job(style=str(painting), vgg=str(saved_vgg()))
    there = job(
        style=stored("a/red.png", painting.read_bytes()), vgg=stored("a/v.safetensors", saved_vgg().read_bytes())
    )
    assert there.identity()["stages"] == here.identity()["stages"]


def test_the_bytes_are_read_once_and_kept(painting: Path) -> None:
    uri = stored("b/red.png", painting.read_bytes())
    read = job(style=uri, vgg=str(saved_vgg()))
    before = read.identity()
    fsspec.filesystem("memory").rm("/b/red.png")
    assert read.identity() == before
    with read.spec.configs[0].located("style") as place:
        assert Path(place).read_bytes() == painting.read_bytes()


def test_a_checkpoint_on_a_store_comes_with_its_card() -> None:
    path = saved("faststyle", "style", width=4, blocks=1)
    uri = stored("c/style.safetensors", path.read_bytes())
    stored("c/style.json", path.with_suffix(".json").read_bytes())
    assert job(style=uri).identity()["stages"] == job(style=str(path)).identity()["stages"]


def test_what_is_not_there_is_found_before_anything_starts() -> None:
    with pytest.raises(JobError, match=r"gone\.png: no such file"):
        job(style="memory://gone.png", vgg=str(saved_vgg()))


def test_a_job_without_such_files_is_left_as_it_is() -> None:
    read = job(style="wave")
    assert not read.spec.configs[0].assets()
