"""`source.group` through the real command: files that belong together are one input of a decoder that takes several."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError

from pixelmill.jobs.job import read_job
from pixelmill.jobs.spec import JobSpec
from tests import scans
from tests.support import Home, Output, job_file
from tests.toys.command import with_toys
from tests.toys.registered import toy_stages

PAGES = {"a": 3, "b": 1, "c": 2}


def write_scans(folder: Path) -> dict[str, np.ndarray]:
    """A folder for each scan; how much of each page is bright."""
    bright: dict[str, np.ndarray] = {}
    for number, (name, pages) in enumerate(PAGES.items()):
        pages_PHWC = scans.pages_of(number, pages)
        scans.write_scan(folder / name, name, pages_PHWC)
        bright[name] = (pages_PHWC.mean(axis=3) > 128).mean(axis=(1, 2))
    return bright


def test_the_files_of_a_scan_are_milled_as_one_input_and_resumed_as_one(user: Home, tmp_path: Path) -> None:
    bright = write_scans(tmp_path / "in")
    for colour in "rg":  # a scan without its third file
        (tmp_path / "in/d").mkdir(exist_ok=True)
        (tmp_path / f"in/d/d.{colour}.tif").write_bytes(scans.tiff_of(scans.pages_of(9, 1)[..., 0]))
    job = job_file(tmp_path / "job.yaml", str(tmp_path / "in"), str(tmp_path / "out"), ["threshold"], actors=1)
    options = ["--set", "source.group=folder", "--set", "source.decoder=scan"]
    ended = with_toys(user, "run", job, *options)
    assert ended.code == 3, ended.stderr
    output = Output(str(tmp_path / "out"))
    (failed,) = output.table("failed").to_pylist()
    assert (failed["stage"], failed["error_type"]) == ("decode", "Incomplete")
    found: dict[str, list[float]] = {}
    for row in sorted(output.table("data").to_pylist(), key=lambda row: row["place"]):
        found.setdefault(row["uri"].rpartition("/")[2], []).append(row["bright_fraction"])
    assert found.keys() == bright.keys()
    assert all(np.allclose(found[name], bright[name], atol=1e-6) for name in bright)
    assert "nothing was left to do" in with_toys(user, "run", job, *options).stdout


def job_text(source: str) -> str:
    return f"version: 1\nsource: {{uri: in, {source}}}\nout: out\nstages: [threshold]\n"


def test_the_grouping_is_part_of_the_identity_only_where_it_is_given() -> None:
    with toy_stages():
        plain, grouped = (
            read_job(job_text(source), name="job", overrides=[], environment={})
            for source in ("decoder: scan", "decoder: scan, group: folder")
        )
        assert "group" not in plain.identity()["source"]
        assert grouped.identity()["source"].get("group") == "folder"


@pytest.mark.parametrize(
    ("source", "fact"),
    [
        ({"decoder": "scan", "group": "(a)(b)"}, "has 2 groups in parentheses"),
        ({"decoder": "scan", "group": "("}, "neither stem nor folder nor a regular expression"),
        ({"group": "folder"}, "the decoder picture takes one file"),
    ],
)
def test_a_grouping_that_can_not_work_is_refused_before_anything_starts(source: dict[str, str], fact: str) -> None:
    with toy_stages(), pytest.raises(ValidationError, match=fact):
        JobSpec.model_validate({"version": 1, "source": {"uri": "in", **source}, "out": "out", "stages": ["threshold"]})


def test_whether_files_can_be_grouped_is_what_the_decoder_says() -> None:
    source = {"uri": "in", "decoder": "ids", "group": "folder"}
    with pytest.raises(ValidationError, match="the decoder ids takes one file"):
        JobSpec.model_validate({"version": 1, "source": source, "out": "out", "stages": ["synthesize"]})
