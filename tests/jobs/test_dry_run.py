"""A plan says what a job would do and what it needs, in figures, and starts and writes nothing."""

from __future__ import annotations

import io
import json
import re
from pathlib import Path

import pytest

from pixelmill.jobs import checks, dry_run
from pixelmill.jobs.job import Job, read_job
from pixelmill.jobs.session import cluster
from pixelmill.jobs.session.cluster import Machine
from pixelmill.jobs.surroundings import Surroundings
from pixelmill.pipelines.inputs.sources import Source
from pixelmill.pipelines.outputs.attempt import IDENTITY
from pixelmill.pipelines.outputs.known import Known
from pixelmill.pipelines.outputs.listing import Listing, tables_of
from pixelmill.pipelines.outputs.rows import read_files
from pixelmill.pipelines.outputs.segments import read_segments
from pixelmill.pipelines.placement import Node
from pixelmill.pipelines.stores.access import Access
from pixelmill.pipelines.stores.folder import Folder
from pixelmill.workers.errors import JobError, StoreError
from tests.conftest import Reach
from tests.servers.gateway import Gateway

JOB = """\
version: 1
source: {source}
out: {out}
stages:
  - embed: {{model: "torchvision:squeezenet1_1/random"}}
"""
SMALL = 50


@pytest.fixture(autouse=True)
def looks_at_little(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that no settings are probed, which takes seconds."""
    monkeypatch.setattr(dry_run, "LOOKED_AT", SMALL)


def job(source: str | Path = "photos", out: str | Path = "out", *overrides: str) -> Job:
    return read_job(JOB.format(source=source, out=out), name="job", overrides=list(overrides), environment={})


def around(**environment: str) -> Surroundings:
    return Surroundings(environment, io.StringIO(), False, None, 0.0)


def plan_of(capsys: pytest.CaptureFixture[str], planned: Job) -> dict[str, str]:
    """What is printed, by the word at the beginning of each line."""
    dry_run.show_plan(planned, around())
    lines = capsys.readouterr().out.splitlines()
    return {line[:9].strip(): line[9:] for line in lines if not line.startswith(" ")}


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    folder.mkdir()
    for name in ("a.jpg", "b.jpg", "c.png", "notes.txt"):
        (folder / name).write_bytes(b"x")
    return folder


def test_a_plan_says_what_is_found_where_it_goes_and_how_it_runs(
    photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    told = plan_of(capsys, job(photos, tmp_path / "out", "run.actors=2"))
    assert told["source"] == f"{photos}: 3 inputs (objects), 1 other file ignored"
    assert told["output"] == f"{tmp_path}/out: new"
    assert "needs 2 logical CPUs, 0 GPUs" in told["cluster"]
    assert re.match(r"2 on cpu, \d+ torch threads each, decoding in the worker", told["workers"])
    assert "torchvision:squeezenet1_1/random" in told["stage 0"]


def test_a_plan_has_no_more_workers_than_parts(
    photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cluster, "this_machine", lambda: Machine(8, 0, 16 << 30))
    told = plan_of(capsys, job(photos, tmp_path / "out"))
    assert told["workers"] == "1 on cpu, 8 torch threads each, 1 decoding thread"
    assert "needs 1 logical CPUs" in told["cluster"]
    for number in range(SMALL + 1):
        (photos / f"{number}.jpg").write_bytes(b"x")
    assert plan_of(capsys, job(photos, tmp_path / "out"))["workers"].startswith("8 on cpu, 1 torch threads each")


def test_a_plan_says_which_nodes_decode(
    photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    nodes = (Node({"CPU": 2.0}), Node({"CPU": 4.0, "decoder": 4.0}))
    monkeypatch.setattr(checks, "nodes_of", lambda address: nodes)
    elsewhere = ("run.address=head:6379", "run.actors=1", "run.decode_on={tasks: 8, resources: {decoder: 1}}")
    told = plan_of(capsys, job(photos, tmp_path / "out", *elsewhere))
    assert told["workers"].endswith("decoding by 8 tasks for each on nodes with 1 CPU, 1 decoder")


def test_a_plan_shows_of_each_stage_of_a_chain_what_it_reads_and_makes(
    photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    chain = JOB.format(source=photos, out=tmp_path / "out").replace("{model:", "{from: stylize, model:")
    stages = chain + "  - stylize: {format: webp, column: painted}\n"
    dry_run.show_plan(read_job(stages, name="job", overrides=[], environment={}), around())
    text = capsys.readouterr().out
    assert "stage 0  embed of the picture of stylize: " in text
    assert "stage 1  stylize of the original picture: " in text
    assert re.search(r"columns? painted\b.*webp", text)


def test_a_plan_writes_nothing(photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = sorted(tmp_path.rglob("*"))
    plan_of(capsys, job(photos, tmp_path / "out"))
    assert sorted(tmp_path.rglob("*")) == before


def test_names_are_shown_as_they_are(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("album [red]", "a[/b]"):
        folder = tmp_path / name
        folder.mkdir(parents=True)
        (folder / "a.jpg").write_bytes(b"x")
        told = plan_of(capsys, job(f'"{folder}"', tmp_path / "out"))
        assert told["source"] == f"{folder}: 1 input (objects)"


def test_a_large_source_is_looked_at_and_not_listed_to_its_end(
    photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for number in range(SMALL):
        (photos / f"{number}.jpg").write_bytes(b"x")
    assert "more than 50 inputs" in plan_of(capsys, job(photos, tmp_path / "out"))["source"]


def test_what_is_finished_is_said_not_to_be_read_again(
    photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = Folder(str(tmp_path / "out"), Access())
    listing = Listing(out, 0)
    listing.write(tables_of(Source((str(photos),)), listing, Known(out, [])))
    listing.commit([2, 1], 0)
    out.publish("data/part-000000.parquet", b"")
    planned = job(photos, tmp_path / "out")
    out.publish(IDENTITY, json.dumps(planned.identity()).encode())
    said = f"{out.uri}: 2 of 3 listed inputs are finished and will not be read again"
    assert plan_of(capsys, planned)["output"] == said
    again = Listing(out, 1, supersedes=True)  # what a retry lists again is no other input
    again.write(table.slice(0, 1) for table in read_files(out, read_segments(out)[0]))
    again.commit([1], 2)
    assert plan_of(capsys, planned)["output"] == said


def test_a_job_that_finds_no_input_at_all_is_refused_and_not_complete(photos: Path, tmp_path: Path) -> None:
    planned = job(photos, tmp_path / "out", "source.format=images", "source.pattern=*.gif")
    fact = (
        r"photos: no input was found: 4 files left out by source.format and source.pattern \(2 .jpg, 1 .png, 1 .txt\)"
    )
    with pytest.raises(JobError, match=fact):
        dry_run.show_plan(planned, around())
    assert not (tmp_path / "out").exists()


def test_a_source_that_can_not_be_listed_says_so(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="does not exist, listing the source"):
        dry_run.show_plan(job(tmp_path / "gone", tmp_path / "out"), around())


@pytest.mark.parametrize("source", ["s3://bucket", "s3://bucket/photos", "s3://bucket/*.jpg"])
def test_a_bucket_without_credentials_says_so(gateway: Gateway, reach: Reach, tmp_path: Path, source: str) -> None:
    reach({"AWS_ENDPOINT_URL": gateway.env["AWS_ENDPOINT_URL"]})
    with pytest.raises(StoreError, match="no credentials were found"):
        dry_run.show_plan(job(source, tmp_path / "out"), around())


def test_an_output_column_is_shown_with_its_type(
    photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    dry_run.show_plan(job(photos, tmp_path / "out", "stages.0.output=float16"), around())
    assert re.search(r"column embedding: fixed_size_list<\w+: halffloat>\[512\]", capsys.readouterr().out)
