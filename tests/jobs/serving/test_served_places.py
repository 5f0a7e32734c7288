"""What is served from where: runs of CT, curves, runs in a store, runs that go on, and the command itself."""

from __future__ import annotations

import io
import json
import os
import re
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from pixelmill.jobs import cli
from pixelmill.jobs.session.holding import holding
from pixelmill.pipelines.events import RowsCounted, Started
from pixelmill.pipelines.outputs.self_report import SelfReport
from pixelmill.pipelines.stores.access import Access
from pixelmill.pipelines.stores.folder import Folder
from tests.conftest import Reach
from tests.jobs.serving.served import Served, explored_run, numbers_in, served
from tests.jobs.serving.served_ct import SECRET_NAME, ct_run, curve_of
from tests.servers.gateway import Gateway

# -------------------------------------------------------------------------------------------------------------------- CT


@pytest.fixture
def slices(tmp_path: Path) -> str:
    return ct_run(tmp_path)


def levels(at: Served, series: int, place: int, window: str) -> np.ndarray:
    reply = at.get(f"/api/runs/0/series/{series}/slices/{place}?window={window}")
    assert reply.status == 200, reply.body
    with Image.open(io.BytesIO(reply.body)) as picture:
        return np.asarray(picture.convert("L"), np.float32)


def test_slices_are_scrolled_through_windows_with_the_verdicts_of_the_index(slices: str, tmp_path: Path) -> None:
    with served(tmp_path / "t", slices, str(tmp_path / "index")) as at:
        assert at.json("/api/runs/0")["hounsfield"] == ["hu"]
        found = at.json("/api/runs/0/series")
        assert [(each["slices"], each["usable_3d"], each["reasons_3d"]) for each in found["series"]] == [
            (5, True, []),
            (5, False, ["gap: of 12 mm"]),
        ]
        wide = levels(at, 0, 2, "wide")
        assert wide.shape[0] / wide.shape[1] == pytest.approx(6 / 8, rel=0.02)
        assert wide.std() > 1
        assert abs(levels(at, 0, 2, "bone").mean() - wide.mean()) > 3
        assert abs(levels(at, 0, 0, "wide").mean() - levels(at, 0, 4, "wide").mean()) > 1
        assert at.get("/api/runs/0/rows/0/pictures/hu?window=lung").status == 200
        for address, said in (
            ("series/0/slices/9", "there is no slice 9"),
            ("series/0/slices/0?window=x", "there are lung"),
        ):
            assert said in at.get(f"/api/runs/0/{address}").json["error"]
        verdicts = at.json("/api/runs/1/series")
        assert (verdicts["kind"], len(verdicts["series"])) == ("index", 2)
        for path in ("/api/runs/0/series", "/api/runs/1/series", "/api/runs/1"):
            assert SECRET_NAME.encode() not in at.get(path).body


def test_without_an_index_the_rows_say_why_a_series_is_no_volume(slices: str, tmp_path: Path) -> None:
    with served(tmp_path / "t", slices) as at:
        series = at.json("/api/runs/0/series")["series"]
        assert series[0]["reasons_3d"] == []
        assert series[1]["reasons_3d"] == ["a tilt, or another reason that INDEX/series gives"]


def test_a_run_of_photographs_has_no_series_in_words(tmp_path: Path) -> None:
    with served(tmp_path / "t", explored_run(tmp_path / "run").uri) as at:
        assert "is no output of `ct ingest`" in at.get("/api/runs/0/series").json["error"]


def test_a_curve_is_served_beside_runs(tmp_path: Path) -> None:
    point = curve_of(tmp_path / "curve")
    with served(tmp_path / "t", str(tmp_path / "curve")) as at:
        (run,) = at.json("/api/runs")["runs"]
        assert (run["kind"], run["state"]) == ("curve", "complete")
        assert at.json("/api/runs/0/curve")["points"] == [point | {"gain": None, "gain_over_control": None}]
        assert "is a curve, which has no rows" in at.get("/api/runs/0/rows").json["error"]


@pytest.mark.parametrize("stored", [b"{", b"null", b"[]", b'{"points": [{"arm": 3}]}'])
def test_a_file_that_is_no_curve_is_refused_in_words(stored: bytes, tmp_path: Path) -> None:
    Folder(str(tmp_path / "curve"), Access()).publish("curve.json", stored)
    with served(tmp_path / "t", str(tmp_path / "curve")) as at:
        assert "curve.json: is no report of a curve" in at.get("/api/runs/0/curve").json["error"]


# ---------------------------------------------------------------------------------------------------------------- stores


@pytest.mark.parametrize("server", ["moto", "gateway"])
def test_a_run_on_a_store_is_served(server: str, request: pytest.FixtureRequest, reach: Reach, tmp_path: Path) -> None:
    gateway: Gateway = request.getfixturevalue(server)
    reach(dict(gateway.env))
    bucket = f"served-{server}"
    gateway.make_bucket(bucket)
    explored_run(tmp_path / "run")
    CliRunner().invoke(cli.app, ["project", str(tmp_path / "run")], catch_exceptions=False)
    gateway.put_folder(bucket, "runs/one", tmp_path / "run")
    with served(tmp_path / "t", f"s3://{bucket}/runs") as at:
        (run,) = at.json("/api/runs")["runs"]
        assert run["uri"] == f"s3://{bucket}/runs/one"
        assert at.json("/api/runs/0/rows?sort=uri&limit=2")["total"] == 24
        assert at.get("/api/runs/0/rows/20/pictures/input").headers["content-type"] == "image/jpeg"
        head, _ = numbers_in(at.get("/api/runs/0/map"))
        assert (head["count"], head["made_by"]) == (24, "explore/map, pca")
        assert len(at.json("/api/runs/0/rows/0/near?count=3")["rows"]) == 3
        gateway.stop()
        reply = at.get("/api/runs/0/rows/20/pictures/input?size=large")
        secret = gateway.env["AWS_SECRET_ACCESS_KEY"].encode()
        assert secret not in reply.body
        gateway.start()


# ------------------------------------------------------------------------------------------------------------ going on


def test_a_run_that_goes_on_shows_its_progress_and_its_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pixelmill.jobs.session.holding.BEAT_S", 0.1)
    monkeypatch.setattr("pixelmill.jobs.serving.live.AGAIN_S", 0.0)
    run = explored_run(tmp_path / "run")
    with holding(run, "run", lambda: 0.0, lambda _: None) as held, served(tmp_path / "t", run.uri) as at:
        report = SelfReport(run, held.claim)
        from pixelmill.pipelines.events import Status

        report.add([], "the first line\n")
        report.publish_texts()
        report.publish_status(
            Status().fold_all([Started(attempt=1), RowsCounted(attempt=1, total=100, done=27, failed=3)])
        )
        state = _state_once(at, "running")
        assert (state["progress"]["done"], state["progress"]["total"], state["progress"]["failed"]) == (27, 100, 3)
        assert at.json("/api/runs/0/log") == {"attempt": 1, "text": "the first line\n", "is_cut": False}
        report.add([], "the second line\n")
        report.publish_texts()
        assert at.json("/api/runs/0/log")["text"].endswith("the second line\n")


def _state_once(at: Served, wanted: str) -> dict[str, dict[str, int]]:
    for _ in range(600):
        state = at.json("/api/runs/0/state")
        if state["state"] == wanted:
            return state
    raise AssertionError(f"never {wanted}: {state}")


# ----------------------------------------------------------------------------------------------------------- the command


@pytest.fixture
def command(tmp_path: Path) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """The command as a person starts it, and the address that it printed."""
    run = explored_run(tmp_path / "run")
    words = [sys.executable, "-m", "pixelmill", "serve", run.uri]
    environment = os.environ | {"TMPDIR": "/tmp"}
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        address = re.search(r"http://127\.0\.0\.1:\d+/", line)
        assert address is not None, line
        yield process, address[0]
        process.kill()


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_the_command_says_where_it_is_serves_and_ends_in_order(
    command: tuple[subprocess.Popen[str], str], how: signal.Signals
) -> None:
    process, address = command
    with urllib.request.urlopen(f"{address}api/runs") as answer:
        assert json.load(answer)["runs"][0]["name"] == "run"
    folders = {path for path in Path("/tmp").glob("pixelmill-*") if (path / "rows-0.duckdb").exists()}
    urllib.request.urlopen(f"{address}api/runs/0/rows").close()
    mine = {path for path in Path("/tmp").glob("pixelmill-*") if (path / "rows-0.duckdb").exists()} - folders
    process.send_signal(how)
    assert process.wait(60) == 0
    assert process.stderr is not None
    assert process.stderr.read() == ""
    assert not any(path.exists() for path in mine)


def test_the_command_refuses_a_folder_without_a_run(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-m", "pixelmill", "serve", str(tmp_path)], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (2, "")
    assert "there is no run here" in done.stderr
