"""What is made of finished rows, by the kind of the job; test_run.py shows that it is there before _SUCCESS is."""

from __future__ import annotations

from pathlib import Path

import pytest

from pixelmill.jobs.finishing import finish
from pixelmill.jobs.job import Job, check_document
from pixelmill.pipelines.ct import pooled_codes
from pixelmill.pipelines.ct.pooled_codes import Pooled
from pixelmill.pipelines.stores.access import Access
from pixelmill.pipelines.stores.folder import Folder
from tests.ct_networks import save_autoencoder
from tests.ct_series import index_of
from tests.phantoms import write_archive

EMBED = {"embed": {"model": "torchvision:squeezenet1_1/random"}}


def job_of(source: object, out: Path, *stages: object) -> Job:
    document: dict[str, object] = {"version": 1, "source": source, "out": str(out), "stages": list(stages)}
    return check_document(document, name="job", environment={})


def test_an_index_gets_its_series(tmp_path: Path) -> None:
    write_archive(tmp_path / "archive", 2)
    index, _ = index_of(tmp_path / "archive", tmp_path / "index")
    for name in list(index.names("series")):
        index.remove(f"series/{name}")
    source = {"uri": str(tmp_path / "archive"), "format": "dicom", "decoder": "dicom-header"}
    job = job_of(source, tmp_path / "index", {"ct-index": {"key": "user"}})
    (said,) = finish(job, index, done=3)
    assert said.startswith("2 series: ")
    assert "keep it with the archive" in said
    assert list(index.names("series"))


def test_the_codes_of_slices_are_pooled_and_nothing_of_pictures_or_of_other_stages(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pooled = list[str]()

    def pool(codes: Folder) -> Pooled:
        pooled.append(codes.uri)
        return Pooled(1, 2, "codes")

    monkeypatch.setattr(pooled_codes, "pool_codes", pool)
    save_autoencoder(tmp_path / "m", windows=("lung",))
    ours = {"model": str(tmp_path / "m")}
    out, slices = Folder(str(tmp_path), Access()), {"uri": str(tmp_path / "in"), "decoder": "hu"}
    embeds = job_of(slices, tmp_path, {"embed": ours})
    assert finish(embeds, out, done=2) == ["codes of 1 series, each the mean of its slices, 2 in all: codes"]
    assert pooled == [str(tmp_path)]
    assert finish(embeds, out, done=0) == []
    assert finish(job_of(str(tmp_path / "in"), tmp_path, EMBED), out, done=2) == []
    assert finish(job_of(slices, tmp_path, {"reconstruct": ours}), out, done=2) == []
    assert len(pooled) == 1
