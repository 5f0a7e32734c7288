"""`inspect`, `export` and the commands that show what ships: what they print, and where."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from pixelmill.jobs import cli
from pixelmill.pipelines.stores.folder import Folder
from pixelmill.workers.errors import JobError
from tests.pipelines.export.drawn import BLUE, make_run


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Folder:
    return make_run(tmp_path_factory.mktemp("run"), {"a.png": (9, 9, 9), "b/c.png": (200, 9, 9), "x.png": BLUE})


def test_export_says_what_it_wrote_and_what_failed(run: Folder, tmp_path: Path) -> None:
    shown = CliRunner().invoke(
        cli.app, ["export", run.uri, str(tmp_path / "to"), "--column", "mask", "--column", "shown"]
    )
    assert shown.exit_code == 0
    assert shown.stdout.startswith(f"4 pictures in {tmp_path / 'to'}; 0.0 MB in this one\n")
    assert "failed: 1 drawn/Blue" in shown.stdout
    assert sorted(path.name for path in (tmp_path / "to").iterdir()) == ["_export", "mask", "shown"]


def test_options_of_export_are_those_of_the_work(run: Folder, tmp_path: Path) -> None:
    given = [
        "export",
        run.uri,
        str(tmp_path / "to"),
        "--column",
        "depth_m",
        "--format",
        "npz",
        "--shards",
        "webdataset",
    ]
    cli.app([*given, "--shard-mb", "3", "--quiet"], standalone_mode=False)
    description = json.loads((tmp_path / "to/_export/export.json").read_text())
    kept = {key: description[key] for key in ("columns", "format", "shards", "shard_mb")}
    assert kept == {"columns": ["depth_m"], "format": "npz", "shards": "webdataset", "shard_mb": 3}


def test_a_folder_that_holds_no_run_is_not_exported(tmp_path: Path) -> None:
    with pytest.raises(JobError, match="holds no run of pixelmill"):
        cli.app(["export", str(tmp_path), str(tmp_path / "to")], standalone_mode=False)
    assert list(tmp_path.iterdir()) == []


def test_inspect_and_zoo_are_json_when_asked(run: Folder) -> None:
    report = json.loads(CliRunner().invoke(cli.app, ["inspect", run.uri, "--json", "--rows", "1"]).stdout)
    assert (report["counts"]["done"], len(report["rows"])) == (2, 1)
    names = {each["name"] for each in json.loads(CliRunner().invoke(cli.app, ["zoo", "--json"]).stdout)}
    assert {"segnet-camvid", "vdsr-t91"} <= names
