"""The whole road through the real command: every kind of source, bad inputs, refusals, other readers."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from pixelmill.jobs.session.cluster import this_machine
from tests import corpus
from tests.jobs.conftest import Mixed, model_file, train_on
from tests.support import (
    READERS,
    Home,
    Output,
    assert_every_input_in_one_row,
    id_of,
    job_file,
    pictures,
    pixelmill,
    read_elsewhere,
)

pytestmark = pytest.mark.timeout(1200)

MODEL = "torchvision:mobilenet_v3_small/random"


def outcomes(output: Output) -> dict[tuple[str, str | None], str]:
    """What became of each input, by uri and member: "good" or an error type."""
    data, failed = output.table("data"), output.table("failed")
    rows = [(row["uri"], row["member"], "good") for row in data.select(["uri", "member"]).to_pylist()]
    rows += [(row["uri"], row["member"], row["error_type"]) for row in failed.to_pylist()]
    return {(uri, member): outcome for uri, member, outcome in rows}


# Every kind of source


def test_a_tar_a_parquet_table_a_list_and_odd_names_in_s3_become_one_row_each(mixed: Mixed) -> None:
    assert mixed.run.code == 3, mixed.run.stderr
    assert outcomes(mixed.output) == mixed.expected
    assert_every_input_in_one_row(mixed.output, inputs=len(mixed.expected))
    table = mixed.output.table("data")
    assert all(
        row["id"] == id_of(row["uri"], row["member"]) for row in table.select(["id", "uri", "member"]).to_pylist()
    )
    assert set(zip(table["width"].to_pylist(), table["height"].to_pylist(), strict=True)) == {(96, 72)}
    vectors = {tuple(vector) for vector in table["embedding"].to_pylist()}
    assert len(vectors) == table.num_rows  # no two pictures are alike, so no two rows hold the same one
    assert "named more than once and done once: 1 input\n" in mixed.run.stdout
    assert "1 .md" in mixed.run.stdout


def test_every_bad_input_becomes_a_good_row_or_a_row_with_the_right_reason(user: Home, tmp_path: Path) -> None:
    cases = corpus.build(tmp_path / "in")
    not_utf8 = os.fsencode(tmp_path / "in" / "images") + b"/caf\xe9.jpg"
    with open(not_utf8, "wb") as file:
        file.write(b"\xff\xd8")
    sources = [str(tmp_path / "in" / kind) for kind in ("images", "tars", "parquet")]
    job = job_file(tmp_path / "job.yaml", sources, str(tmp_path / "out"), max_failed_fraction=1.0)
    done = pixelmill(user, "run", job)
    assert done.code == 3, done.stderr
    output = Output(str(tmp_path / "out"))
    assert_every_input_in_one_row(output, inputs=len(cases) + 1)
    expected = {(str(tmp_path / "in" / case.path), case.member): str(case.expected) for case in cases}
    expected[f"{tmp_path}/in/images/caf\\udce9.jpg", None] = "BadName"
    assert outcomes(output) == expected
    assert len([case for case in cases if case.expected != "good"]) >= 60
    rows = output.table("data").select(["uri", "member", "width", "height"]).to_pylist()
    sizes = {(row["uri"], row["member"]): (row["width"], row["height"]) for row in rows}
    assert sizes == {(str(tmp_path / "in" / case.path), case.member): case.size for case in cases if case.size}
    assert all(len(message) > 10 for message in output.table("failed")["error"].to_pylist())


@pytest.mark.skipif(this_machine().cores < 2, reason="on one core there is one worker anyway")
def test_a_run_of_one_part_starts_one_worker_that_has_all_cores(user: Home, tmp_path: Path) -> None:
    pictures(tmp_path / "in", 3)
    words = ["embed", str(tmp_path / "in"), str(tmp_path / "out"), "--model", MODEL, "--set", "run.num_gpus=0"]
    done = pixelmill(user, *words)
    assert done.code == 0, done.stderr
    (record,) = (tmp_path / "out").glob("_run/attempts/*/record.json")
    assert json.loads(record.read_text())["settings"]["embed"]["threads"] == this_machine().cores


# Law 4


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (["stages.0.model=torchvision:mobilenet_v3_small/random"], "stages.0.embed.model"),
        (["stages.0.output=float16"], "stages.0.embed.output: 'float32' there, 'float16' here"),
        (["stages.0.layer=code"], "stages.0.embed.layer"),
        (["source.max_pixels=9"], "source.max_pixels"),
        (["source.uri=s3://mixed/folder"], "source.uri"),
    ],
)
def test_another_spec_is_refused_names_what_differs_and_changes_nothing(
    mixed: Mixed, change: list[str], words: str
) -> None:
    before = mixed.output.contents()
    refused = pixelmill(mixed.user, "run", mixed.job, *(word for setting in change for word in ("--set", setting)))
    assert refused.code == 2, refused.stderr
    assert words in refused.stderr
    assert mixed.output.contents() == before


def test_other_weights_in_a_file_of_the_same_name_are_refused(mixed: Mixed) -> None:
    before, model = mixed.output.contents(), model_file(mixed.user.folder / "models")
    train_on(model)
    try:
        refused = [pixelmill(mixed.user, "run", mixed.job), pixelmill(mixed.user, "retry", mixed.out)]
    finally:
        model_file(mixed.user.folder / "models")
    assert [ended.code for ended in refused] == [2, 2]
    assert all("stages.0.embed.weights_sha256" in ended.stderr for ended in refused)
    assert mixed.output.contents() == before


def test_a_retry_that_would_make_something_else_is_refused(mixed: Mixed) -> None:
    before = mixed.output.contents()
    refused = pixelmill(mixed.user, "retry", mixed.out, "--set", "stages.0.output=float16")
    assert refused.code == 2, refused.stderr
    assert "stages.0.embed.output" in refused.stderr
    assert mixed.output.contents() == before


@pytest.mark.slow
def test_published_weights_that_were_replaced_under_their_name_are_refused(user: Home, tmp_path: Path) -> None:
    published = user.folder / "torch" / "hub" / "checkpoints" / "mobilenet_v3_small-047dcff4.pth"
    pictures(tmp_path / "in", 4)
    user.environment["TORCH_HOME"] = str(user.folder / "torch")
    command = ["embed", str(tmp_path / "in"), str(tmp_path / "out"), "--model", "torchvision:mobilenet_v3_small"]
    publish(published, seed=0)
    assert pixelmill(user, *command).code == 0
    made = Output(str(tmp_path / "out")).contents("_run/", "_SUCCESS")
    publish(published, seed=1)
    pictures(tmp_path / "in", 2, first=100)
    refused = pixelmill(user, *command)
    assert refused.code == 2, refused.stderr
    assert "was made with other weights, and two are never mixed" in refused.stderr
    assert Output(str(tmp_path / "out")).contents("_run/", "_SUCCESS") == made


def publish(path: Path, seed: int) -> None:
    import torch
    from torchvision.models import mobilenet_v3_small

    path.parent.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(seed)
    torch.save(mobilenet_v3_small().state_dict(), path)


def test_a_finished_job_run_again_does_nothing_though_its_speed_is_set_otherwise(mixed: Mixed) -> None:
    before = mixed.output.contents("_run/", "_SUCCESS")
    again = pixelmill(mixed.user, "run", mixed.job, "--set", "stages.0.batch=8", "--set", "run.actors=1")
    assert again.code == 3, again.stderr
    assert "nothing was left to do" in again.stdout
    assert mixed.output.contents("_run/", "_SUCCESS") == before


# Law 5


@pytest.mark.parametrize("reader", list(READERS))
def test_a_reader_that_knows_nothing_of_us_reads_the_same_rows(mixed: Mixed, tmp_path: Path, reader: str) -> None:
    table = pq.read_table(mixed.copy / "data")
    rows = dict(zip(table["id"].to_pylist(), table["embedding"].to_pylist(), strict=True))
    assert read_elsewhere(reader, mixed.copy / "data", tmp_path) == rows
    assert len(rows) == list(mixed.expected.values()).count("good")


# A job that goes wrong


def test_a_job_that_goes_wrong_stops_itself_goes_on_with_a_raised_fraction_and_is_retried_from_elsewhere(
    user: Home, tmp_path: Path
) -> None:
    archive, out = tmp_path / "in", tmp_path / "out"
    made = pictures(archive, 300)
    whole = {path: path.read_bytes() for path in made}
    for path in made[::3]:
        path.write_bytes(b"<html>gone</html>")
    command = ["embed", "in", "out", "--model", MODEL]
    stopped = pixelmill(user, *command, cwd=tmp_path)
    assert stopped.code == 4, stopped.stderr
    assert "run.max_failed_fraction = 0.05" in stopped.stderr
    assert "decode/NotAnImage, as " in stopped.stderr
    kept = Output(str(out)).published("_run/")
    assert kept

    pictures(tmp_path / "there" / "in", 3)
    elsewhere = pixelmill(user, "embed", "in", str(out), "--model", MODEL, cwd=tmp_path / "there")
    assert elsewhere.code == 2  # the same words name another source there
    assert "source.uri_sha256" in elsewhere.stderr

    done = pixelmill(user, *command, "--set", "run.max_failed_fraction=0.5", cwd=tmp_path)
    assert done.code == 3, done.stderr
    assert kept.items() <= Output(str(out)).contents().items()
    assert assert_every_input_in_one_row(Output(str(out)), inputs=300) == {"NotAnImage": 100}

    for path, data in whole.items():
        path.write_bytes(data)
    moved = out.rename(tmp_path / "moved")
    mended = pixelmill(user, "retry", str(moved), "--quiet", cwd=user.folder)
    assert (mended.code, mended.stderr) == (0, "")
    assert mended.stdout.startswith("300 done, 0 failed of 300 inputs")
    assert assert_every_input_in_one_row(Output(str(moved)), inputs=300) == {}
    assert not out.exists()
