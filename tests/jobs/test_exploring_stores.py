"""A run on a store is looked into as one on a disk: on a server with conditional writes, and on one without."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from pixelmill.jobs import cli
from pixelmill.pipelines.findings import stored
from pixelmill.pipelines.outputs import claims
from pixelmill.pipelines.stores.access import Access
from pixelmill.pipelines.stores.folder import Folder
from tests.conftest import Reach
from tests.pipelines.findings.explored import add_part, compressed, directions, noise, open_out
from tests.servers.gateway import Gateway


@pytest.mark.parametrize("server", ["moto", "gateway"])
def test_a_run_on_a_store_is_explored_and_reported(
    server: str, request: pytest.FixtureRequest, reach: Reach, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(claims, "SETTLE_S", 0.1)
    monkeypatch.setattr("pixelmill.jobs.session.holding.SETTLE_S", 0.1)
    at: Gateway = request.getfixturevalue(server)
    reach(dict(at.env))
    bucket = f"looked-into-{server}"
    at.make_bucket(bucket)
    local = open_out(tmp_path / "out")
    pictures = [noise(n) for n in range(12)]
    pictures[1] = compressed(pictures[0])
    add_part(local, [f"{n:02d}" for n in range(12)], directions(3, 4), pictures)
    at.put_folder(bucket, "run", tmp_path / "out")
    uri = f"s3://{bucket}/run"
    for words in (["cluster", "--k", "3"], ["duplicates"], ["project"]):
        done = CliRunner().invoke(cli.app, [words[0], uri, *words[1:], "--json"], catch_exceptions=False)
        assert json.loads(done.stdout)["covers"]["rows"] == 12
    assert stored.names(Folder(uri, Access())) == ["clusters", "duplicates", "map"]
    found = CliRunner().invoke(
        cli.app, ["neighbors", uri, "--id", "id-00", "-k", "3", "--json"], catch_exceptions=False
    )
    assert {row["id"] for row in json.loads(found.stdout)} == {"id-01", "id-02", "id-03"}
    CliRunner().invoke(cli.app, ["report", uri, "--out", f"s3://{bucket}/report.html"], catch_exceptions=False)
    page = at.read(bucket, "report.html").decode()
    assert page.startswith("<!doctype html>")
    assert "Cluster 2" in page
