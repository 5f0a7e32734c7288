"""`--ray` as a person types it: the same answer, from a Ray that ends with the command, and plain words where there is none."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from pixelmill.pipelines.stores.folder import Folder
from tests.pipelines.findings.explored import add_part, directions, open_out


@pytest.fixture
def out(tmp_path: Path) -> Folder:
    folder = open_out(tmp_path / "out")
    add_part(folder, [f"{n:02d}" for n in range(12)], directions(3, 8)[:12])
    add_part(folder, [f"{n:02d}" for n in range(12, 24)], directions(3, 8)[12:])
    return folder


def typed(*words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pixelmill", *words]
    return subprocess.run(command, env=dict(os.environ), capture_output=True, text=True, timeout=240)


def test_clusters_on_a_ray_of_this_machine_are_those_of_one_process(out: Folder) -> None:
    here = typed("cluster", out.uri, "--k", "3", "--name", "here", "--json")
    there = typed("cluster", out.uri, "--k", "3", "--name", "there", "--ray", "local", "--json")
    assert (here.returncode, there.returncode) == (0, 0), there.stderr
    assert json.loads(there.stdout)["summary"] == json.loads(here.stdout)["summary"]
    rows = [pq.read_table(f"{out.uri}/explore/{name}/rows.parquet").drop(["distance"]) for name in ("here", "there")]
    assert rows[0].equals(rows[1].replace_schema_metadata(rows[0].schema.metadata))


def test_a_cluster_that_does_not_answer_is_a_plain_word_and_nothing_is_stored(out: Folder) -> None:
    done = typed("duplicates", out.uri, "--ray", "127.0.0.1:9")
    assert done.returncode == 2
    assert "no Ray cluster answers there" in done.stderr
    assert "Traceback" not in done.stderr
    assert not Path(out.uri, "explore").exists()
