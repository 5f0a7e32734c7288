"""A plan says what a job would do and what it needs, in figures, and starts and writes nothing."""

from __future__ import annotations

import io
import json
import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pixelmill.jobs import plan, spec
from pixelmill.jobs.run import Run, Surroundings, make_plan
from pixelmill.jobs.session.cluster import QUIET, Machine, address_of, connect
from pixelmill.pipelines.inputs.sources import Source
from pixelmill.pipelines.outputs.attempt import IDENTITY
from pixelmill.pipelines.outputs.manifest import Known, Listing, read_files, read_segments, tables_of
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
    monkeypatch.setattr(plan, "LOOKED_AT", SMALL)


def job(source: str | Path = "photos", out: str | Path = "out", *overrides: str) -> spec.Job:
    return spec.load(JOB.format(source=source, out=out), name="job", overrides=list(overrides), environment={})


def around(**environment: str) -> Surroundings:
    return Surroundings(environment, io.StringIO(), False, None, 0.0)


def plan_of(capsys: pytest.CaptureFixture[str], planned: spec.Job) -> dict[str, str]:
    """What is printed, by the word at the beginning of each line."""
    plan.show_plan(planned, around())
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
    assert told["source"] == f"{photos}: 3 inputs (objects), 1 other files ignored"
    assert told["output"] == f"{tmp_path}/out: new"
    assert "needs 2 logical CPUs, 0 GPUs" in told["cluster"]
    assert re.match(r"2 on cpu, \d+ torch threads each, decoding in the worker", told["workers"])
    assert "torchvision:squeezenet1_1/random" in told["stage 0"]


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
        assert told["source"] == f"{folder}: 1 inputs (objects)"


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
    fact = r"photos: no input was found: 4 files are there that .* leave out \(2 .jpg, 1 .png, 1 .txt\)"
    with pytest.raises(JobError, match=fact):
        plan.show_plan(planned, around())
    assert not (tmp_path / "out").exists()


def test_a_source_that_can_not_be_listed_says_so(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="does not exist, listing the source"):
        plan.show_plan(job(tmp_path / "gone", tmp_path / "out"), around())


@pytest.mark.parametrize("source", ["s3://bucket", "s3://bucket/photos", "s3://bucket/*.jpg"])
def test_a_bucket_without_credentials_says_so(gateway: Gateway, reach: Reach, tmp_path: Path, source: str) -> None:
    reach({"AWS_ENDPOINT_URL": gateway.env["AWS_ENDPOINT_URL"]})
    with pytest.raises(StoreError, match="no credentials were found"):
        plan.show_plan(job(source, tmp_path / "out"), around())


def test_more_gpus_than_there_are_is_a_job_error_with_figures(photos: Path, tmp_path: Path) -> None:
    planned = job(photos, tmp_path / "out", "run.num_gpus=1", "run.actors=3")
    with pytest.raises(JobError, match="run: 3 workers can't be placed: 3 GPUs are needed and 0 are there"):
        make_plan(planned, Machine(8, 0, 1 << 34), None, None)


# ----------------------------------------------------------------------------------------------------------- workers


def test_a_machine_without_gpus_has_a_worker_a_core_of_one_thread() -> None:
    made = make_plan(job(), Machine(8, 0, 1 << 34), None, None)
    assert (made.pool.actors, made.pool.cpus, made.pool.gpus) == (8, 1, 0)
    assert (made.threads, made.decode_threads, made.device) == (1, 0, "cpu")


def test_a_machine_with_gpus_has_a_worker_a_gpu_and_its_cores_decode() -> None:
    made = make_plan(job(), Machine(16, 2, 1 << 34), None, None)
    assert (made.pool.actors, made.pool.cpus, made.pool.gpus) == (2, 7, 1)
    assert (made.decode_threads, made.device) == (7, "cuda")
    assert made.pool.total_cpus <= 16  # with the one that publishes


def test_a_cluster_is_planned_with_what_it_has_and_not_with_this_machine() -> None:
    made = make_plan(job(), Machine(2, 0, 1 << 34), "head:6379", {"CPU": 64.0, "GPU": 4.0, "memory": 1e12})
    assert (made.pool.actors, made.pool.cpus, made.pool.gpus) == (4, 15, 1)
    made = make_plan(job(), Machine(2, 8, 1 << 34), "head:6379", {"CPU": 64.0})
    assert (made.pool.actors, made.device) == (64, "cpu")


@settings(deadline=None, max_examples=200)
@given(
    st.integers(1, 128),
    st.integers(0, 8),
    st.none() | st.integers(1, 64),
    st.none() | st.sampled_from([0, 0.5, 1, 2]),
    st.none() | st.sampled_from([0.5, 1, 3]),
    st.booleans(),
)
def test_a_plan_fits_what_is_there_or_is_refused(
    cores: int, gpus: int, actors: int | None, gpus_each: float | None, cpus_each: float | None, is_cluster: bool
) -> None:
    wishes = {"actors": actors, "num_gpus": gpus_each, "cpus_per_actor": cpus_each}
    planned = job("photos", "out", *(f"run.{key}={value}" for key, value in wishes.items() if value is not None))
    resources = {"CPU": float(cores), "GPU": float(gpus)} if is_cluster else None
    try:
        made = make_plan(planned, Machine(cores, gpus, 1 << 34), None, resources)
    except JobError as error:
        assert re.search(r"[\d.]+ (CPU|GPU)s are needed and [\d.]+ are there", str(error))  # noqa: PT017
        return
    assert made.pool.total_gpus <= gpus
    assert made.threads >= 1
    assert made.pool.actors == (actors or made.pool.actors)
    if is_cluster:
        assert made.pool.total_cpus <= cores
    elif made.device == "cpu":
        assert made.threads == 1 or made.threads * made.pool.actors <= cores


@pytest.mark.parametrize("cores", range(1, 65, 7))
@pytest.mark.parametrize("gpus", [0, 1, 4])
def test_what_is_chosen_automatically_always_fits(cores: int, gpus: int) -> None:
    resources = {"CPU": float(cores), "GPU": float(gpus)}
    if gpus and cores <= gpus:  # a core for each GPU and one to publish
        return
    assert make_plan(job(), Machine(cores, gpus, 1 << 34), "head:6379", resources).pool.actors >= 1


@pytest.mark.parametrize(
    ("written", "environment", "address"),
    [
        (None, {}, None),
        (None, {"RAY_ADDRESS": "a:6379"}, "a:6379"),
        ("b:6379", {"RAY_ADDRESS": "a:6379"}, "b:6379"),
        ("local", {"RAY_ADDRESS": "a:6379"}, None),
        (None, {"RAY_ADDRESS": ""}, None),
        (None, {"RAY_ADDRESS": "local"}, None),
    ],
)
def test_the_job_names_the_cluster_or_else_the_environment(
    written: str | None, environment: dict[str, str], address: str | None
) -> None:
    assert address_of(written, environment) == address


def test_an_output_column_is_shown_with_its_type(
    photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plan.show_plan(job(photos, tmp_path / "out", "stages.0.output=float16"), around())
    assert re.search(r"column embedding: fixed_size_list<\w+: halffloat>\[512\]", capsys.readouterr().out)


def test_a_ray_of_our_own_tells_its_makers_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    from ray._common.usage import usage_lib

    monkeypatch.delenv("RAY_USAGE_STATS_ENABLED", raising=False)
    assert usage_lib.usage_stats_enabled()
    for name, value in QUIET.items():
        monkeypatch.setenv(name, value)
    assert not usage_lib.usage_stats_enabled()


@pytest.mark.parametrize(
    ("address", "fact"),
    [
        ("127.0.0.1:9", "no Ray cluster answers there .*refused"),
        ("ray://127.0.0.1:9", "ray:// can't run a job .*ray job submit"),
    ],
)
def test_an_address_where_nobody_answers_is_told_at_once(address: str, fact: str) -> None:
    with pytest.raises(JobError, match=f"{re.escape(address)}: {fact}"):
        connect(address)


@pytest.mark.parametrize(
    ("rows", "done", "failed", "goes_wrong"),
    [
        (300, 50, 49, False),  # too few seen
        (300, 50, 50, True),
        (300, 100, 15, False),  # a twentieth of all of a small archive
        (300, 100, 16, True),
        (300, 200, 99, True),
        (300, 200, 100, False),  # it is through: there is nothing to stop
        (100_000, 1000, 50, False),  # a twentieth of those seen, 52
        (100_000, 1000, 53, True),
        (100_000, 100, 49, False),  # a twentieth of the first thousand
    ],
)
def test_a_job_goes_wrong_when_too_many_of_those_seen_failed_and_some_are_left(
    rows: int, done: int, failed: int, goes_wrong: bool
) -> None:
    run = Run(job(), around())
    run.rows = rows
    assert run.goes_wrong(done, failed) == goes_wrong
