"""The whole road through the real command: bad inputs, resuming, new inputs, retries, refusals, and other readers."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import corpus
from tests.support import (
    Home,
    Output,
    Run,
    assert_every_input_in_one_row,
    embed,
    home,
    id_of,
    job_file,
    pictures,
    pixelmill,
)

pytestmark = pytest.mark.timeout(900)

MODEL = "torchvision:mobilenet_v3_small/random"


@pytest.fixture(scope="module")
def user() -> Iterator[Home]:
    with home({"AWS_SECRET_ACCESS_KEY": "hunter2-never-written"}) as user:
        yield user


@pytest.fixture(scope="module")
def finished(user: Home) -> tuple[Path, Path]:
    """An archive of 40 pictures and a broken one, and its finished output; not to be changed."""
    archive, out = user.folder / "archive", user.folder / "out"
    pictures(archive, 40)
    (archive / "broken.jpg").write_bytes(b"<html>not found</html>")
    done = pixelmill(user, "embed", str(archive), str(out), "--model", MODEL)
    assert done.code == 3, done.stderr
    return archive, out


def test_every_bad_input_becomes_a_good_row_or_a_row_with_the_right_reason(user: Home, tmp_path: Path) -> None:
    cases = corpus.build(tmp_path / "in")
    sources = [str(tmp_path / "in" / kind) for kind in ("images", "tars", "parquet")]
    job = job_file(tmp_path / "job.yaml", sources, str(tmp_path / "out"), max_failed_fraction=1.0)
    done = pixelmill(user, "run", job)
    assert done.code == 3, done.stderr
    output = Output(str(tmp_path / "out"))
    assert_every_input_in_one_row(output, inputs=len(cases))
    expected = {id_of(str(tmp_path / "in" / case.path), case.member): case.expected for case in cases}
    found = dict.fromkeys(output.table("data")["id"].to_pylist(), "good")
    failed = output.table("failed")
    found |= dict(zip(failed["id"].to_pylist(), failed["error_type"].to_pylist(), strict=True))
    assert {key: (found.get(key), value) for key, value in expected.items() if found.get(key) != value} == {}
    assert len([case for case in cases if case.expected != "good"]) >= 60
    assert all(len(message) > 10 for message in failed["error"].to_pylist())


def test_a_finished_job_run_again_does_nothing(user: Home, finished: tuple[Path, Path]) -> None:
    archive, out = finished
    before = Output(str(out)).contents("_run/", "_SUCCESS")
    again = pixelmill(user, "embed", str(archive), str(out), "--model", MODEL)
    assert again.code == 3
    assert "nothing was left to do" in again.stdout
    assert Output(str(out)).contents("_run/", "_SUCCESS") == before


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (["--model", "torchvision:mobilenet_v3_large/random"], "stages.0.embed.model"),
        (["--model", MODEL, "--set", "stages.0.output=float16"], "stages.0.embed.output"),
        (["--model", MODEL, "--set", "source.max_pixels=9"], "source.max_pixels"),
    ],
)
def test_another_spec_is_refused_and_changes_nothing(
    user: Home, finished: tuple[Path, Path], change: list[str], words: str
) -> None:
    archive, out = finished
    before = Output(str(out)).contents()
    refused = pixelmill(user, "embed", str(archive), str(out), *change)
    assert refused.code == 2
    assert words in refused.stderr
    assert Output(str(out)).contents() == before


def test_secrets_are_in_no_file_of_a_run(finished: tuple[Path, Path]) -> None:
    _, out = finished
    for path in out.rglob("*"):
        assert path.is_dir() or b"hunter2" not in path.read_bytes(), path


def test_inspect_says_what_there_is(user: Home, finished: tuple[Path, Path]) -> None:
    told = pixelmill(user, "inspect", str(finished[1]), "--json")
    report = json.loads(told.stdout)
    assert report["complete"]
    assert report["counts"] == {"inputs": 41, "done": 40, "failed": 1, "missing": 0, "twice": 0, "unknown": 0}
    assert report["failures"][0]["error_type"] == "NotAnImage"
    assert "embedding" in report["schema"]
    text = pixelmill(user, "inspect", str(finished[1])).stdout
    assert "every input is in exactly one row" in text


@pytest.mark.parametrize(
    "code",
    [
        "import duckdb; print(duckdb.sql(\"select count(*), min(len(embedding)) from '{out}/data/*.parquet'\").fetchall()[0])",
        "import polars as pl; t = pl.read_parquet('{out}/data/*.parquet'); print((t.height, t['embedding'].dtype.size))",
        "import pandas as pd; t = pd.read_parquet('{out}/data'); print((len(t), len(t.embedding[0])))",
        "import datasets as d; t = d.load_dataset('parquet', data_files='{out}/data/*.parquet', split='train', "
        "cache_dir='{tmp}'); print((len(t), len(t[0]['embedding'])))",
    ],
    ids=["duckdb", "polars", "pandas", "datasets"],
)
def test_other_readers_open_the_output_and_know_nothing_of_us(
    finished: tuple[Path, Path], tmp_path: Path, code: str
) -> None:
    script = code.format(out=finished[1], tmp=tmp_path) + "; import sys; assert 'pipelines' not in sys.modules"
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path / "hf")}
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", script], cwd=tmp_path, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip().splitlines()[-1] == "(40, 1024)"


def test_new_inputs_are_added_removed_ones_reported_and_failures_retried(user: Home, tmp_path: Path) -> None:
    archive, out = tmp_path / "in", tmp_path / "out"
    made = pictures(archive, 30)
    (archive / "zz.jpg").write_bytes(made[0].read_bytes()[:200])
    command = ["embed", str(archive), str(out), "--model", MODEL]
    assert pixelmill(user, *command).code == 3
    first = Output(str(out)).contents("_run/", "_SUCCESS")
    pictures(archive, 5, first=100)
    made[3].unlink()
    more = pixelmill(user, *command)
    assert more.code == 3, more.stderr
    assert "1 inputs are gone" in more.stdout
    assert_every_input_in_one_row(Output(str(out)), inputs=36)
    assert first.items() <= Output(str(out)).contents().items()  # what was finished is as it was

    still = pixelmill(user, "retry", str(out))
    assert still.code == 3, still.stderr
    (archive / "zz.jpg").write_bytes(made[0].read_bytes())
    mended = pixelmill(user, "retry", str(out))
    assert mended.code == 0, mended.stderr
    assert assert_every_input_in_one_row(Output(str(out)), inputs=36) == {}


def test_ctrl_c_stops_in_order_and_the_same_command_goes_on(user: Home, tmp_path: Path) -> None:
    archive, out = tmp_path / "in", tmp_path / "out"
    pictures(archive, 400, size=(320, 240))
    command = ["embed", str(archive), str(out), "--model", MODEL, "--set", "run.actors=1"]
    with Run(user, *command) as run:
        run.wait_until(lambda: Output(str(out)).parts() >= 2, "two parts were published")
        run.interrupt()
        at_s = time.monotonic()
        assert run.wait() == 130, run.stderr
        assert time.monotonic() - at_s < 30
        assert "goes on from there" in run.stderr
        assert run.wait_until_gone() == []
    assert not (out / "_SUCCESS").exists()
    kept = Output(str(out)).contents("_run/")
    done = pixelmill(user, *command)
    assert done.code == 0, done.stderr
    assert kept.items() <= Output(str(out)).contents().items()
    assert_every_input_in_one_row(Output(str(out)), inputs=400)


def test_a_job_that_goes_wrong_stops_itself_and_goes_on_with_a_raised_fraction(user: Home, tmp_path: Path) -> None:
    archive, out = tmp_path / "in", tmp_path / "out"
    for number, path in enumerate(pictures(archive, 300)):
        if number % 3 == 0:
            path.write_bytes(b"<html>gone</html>")
    command = ["embed", str(archive), str(out), "--model", MODEL]
    stopped = pixelmill(user, *command)
    assert stopped.code == 1, stopped.stderr
    assert "run.max_failed_fraction = 0.05" in stopped.stderr
    assert "decode/NotAnImage" in stopped.stderr
    done = pixelmill(user, *command, "--set", "run.max_failed_fraction=0.5")
    assert done.code == 3, done.stderr
    assert assert_every_input_in_one_row(Output(str(out)), inputs=300) == {"NotAnImage": 100}


def test_a_dry_run_shows_the_settings_and_writes_nothing(
    user: Home, finished: tuple[Path, Path], tmp_path: Path
) -> None:
    job = job_file(tmp_path / "job.yaml", str(finished[0]), str(tmp_path / "out"), [embed(MODEL)])
    shown = pixelmill(user, "run", job, "--dry-run")
    assert shown.code == 0, shown.stderr
    assert "41 inputs" in shown.stdout
    assert "logical CPUs" in shown.stdout
    assert "precision" in shown.stdout
    assert not (tmp_path / "out").exists()


def test_version_schema_and_a_bad_command_line(user: Home) -> None:
    assert pixelmill(user, "--version").stdout.startswith("pixelmill ")
    assert json.loads(pixelmill(user, "schema").stdout)["properties"]["stages"]
    assert pixelmill(user, "run", "no-such.yaml").code == 2
    assert pixelmill(user, "no-such-command").code == 2
    assert pixelmill(user, "inspect", str(user.folder / "nothing")).code == 2
