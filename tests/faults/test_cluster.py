"""Jobs and flows on a cluster of several nodes, with data behind an S3 server, that loses its parts one after another.

python -m pytest tests/faults/test_cluster.py -s    prints the figures of docs/cluster.md
"""

from __future__ import annotations

import io
import json
import re
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import yaml

from pixelmill.jobs.id_keys import VARIABLE
from tests.architecture import ROOT
from tests.faults.clusters import PATIENCE_S, attempts, client, finished, job_of, kill_driver, nodes_of
from tests.faults.conftest import MODEL, Mine
from tests.phantoms import found_series, write_archive
from tests.servers.ray_cluster import RayCluster
from tests.support import Output, Run, assert_every_input_in_one_row, pixelmill
from tests.waiting import comes

pytestmark = [pytest.mark.slow, pytest.mark.faults, pytest.mark.timeout(3600)]
ROWS, PICTURES = 1400, 160


@pytest.fixture
def cluster(mine: Mine) -> Iterator[RayCluster]:
    """A head and two workers of one CPU, whose nodes reach the store through the proxy that counts, and hold the key of CT."""
    with RayCluster(nodes_of(mine), head_cpus=1) as made:
        made.add_node(1)
        made.add_node(1)
        yield made


class Figures:
    """What each fault cost: seconds until the next part was published, and inputs that were fetched once more."""

    def __init__(self, mine: Mine) -> None:
        self._mine = mine

    def _fetches(self) -> int:
        return sum(self._mine.gets(uri) for uri in self._mine.uris)

    def after(self, fault: str, do: Callable[[], object], *, in_a_new_attempt: bool = False) -> None:
        """Do the damage, and wait until the run is at work again: a part is published, where it needs one by a new attempt."""
        self._mine.seal()
        before, fetched, at_s = finished(self._mine), self._fetches(), time.monotonic()
        began = attempts(self._mine)
        do()
        if in_a_new_attempt:
            assert comes(lambda: attempts(self._mine) > began, PATIENCE_S), f"no attempt began after {fault}"
            before = finished(self._mine)
        assert comes(lambda: finished(self._mine) > before, PATIENCE_S), f"nothing was published after {fault}"
        seconds, done = time.monotonic() - at_s, f"{before} of {len(self._mine.uris)}"
        sys.stdout.write(f"\n{fault}: {seconds:.0f} s, at {done}, {self._fetches() - fetched} GETs\n")


def test_a_job_outlives_a_worker_node_its_driver_the_shell_and_at_last_its_cluster(
    mine: Mine, cluster: RayCluster, tmp_path: Path
) -> None:
    mine.fill(ROWS)
    user, job, figures = client(mine, cluster), job_of(mine, tmp_path), Figures(mine)
    with Run(user, "submit", job, "--address", cluster.address, "--wait") as waiting:
        waiting.wait_until(lambda: mine.output.parts() >= 2, "two parts were published", PATIENCE_S)
        figures.after("a worker node was killed", cluster.nodes[-1].kill)
        figures.after("the driver was killed", lambda: kill_driver(cluster), in_a_new_attempt=True)
        figures.after("the submitting shell was killed", waiting.kill)
    said = pixelmill(user, "status", mine.out, "--json")
    assert json.loads(said.stdout)["state"] == "running", said.stderr
    mine.seal()
    cluster.stop()
    said = pixelmill(user, "status", mine.out, "--json")
    assert json.loads(said.stdout)["state"] == "interrupted", said.stdout
    ended = pixelmill(mine.home, "resume", mine.out, timeout_s=PATIENCE_S)
    assert ended.code == 0, ended.stderr
    assert assert_every_input_in_one_row(mine.output, inputs=ROWS) == {}
    assert mine.fetched_again() == {}
    twice = sum(mine.gets(uri) > 1 for uri in mine.uris)
    sys.stdout.write(f"\n{twice} of {ROWS} inputs were fetched more than once in all, in {mine.output.parts()} parts")
    assert json.loads(pixelmill(user, "status", mine.out, "--json").stdout)["state"] == "complete"


def test_a_run_that_was_begun_here_is_finished_on_a_cluster_whose_head_dies_and_comes_back(
    mine: Mine, cluster: RayCluster, tmp_path: Path
) -> None:
    mine.fill(ROWS)
    user, job, figures = client(mine, cluster), job_of(mine, tmp_path), Figures(mine)
    with Run(mine.home, "run", job) as here:
        here.wait_until(lambda: mine.output.parts() >= 1, "a part was published", PATIENCE_S)
        here.kill()
    mine.seal()
    with Run(user, "submit", job, "--address", cluster.address, "--wait") as waiting:
        begun = finished(mine)
        waiting.wait_until(lambda: finished(mine) > begun, "a part was published on the cluster", PATIENCE_S)

        def lose_the_head() -> None:
            for node in [*cluster.nodes, cluster.head]:
                assert node is not None
                node.kill()
            cluster.nodes.clear()
            cluster.start_head()
            cluster.add_node(1)

        figures.after("the head was killed, with its cluster, and started again", lose_the_head, in_a_new_attempt=True)
        assert waiting.wait(PATIENCE_S) == 0, waiting.stderr
    assert assert_every_input_in_one_row(mine.output, inputs=ROWS) == {}
    assert mine.fetched_again() == {}


FLOW = ROOT / "jobs/examples/flow-photos.yaml"


def test_a_flow_that_loses_a_node_and_its_driver_is_resumed_from_its_folder_and_ends_complete(
    mine: Mine, cluster: RayCluster
) -> None:
    mine.fill(PICTURES)
    user = client(mine, cluster)
    values = {"PHOTOS_BUCKET": mine.bucket, "RESULTS_BUCKET": mine.bucket, "EMBED_MODEL": MODEL}
    user.environment.update(values)
    there = ["--address", cluster.address, *(word for name in values for word in ("--env", name))]
    submitted = pixelmill(user, "submit", str(FLOW), *there)
    assert submitted.code == 0, submitted.stderr
    mine.out = f"s3://{mine.bucket}/flow-photos"
    embedded, styled = (Output(f"{mine.out}/{step}", mine.gateway.env) for step in ("embed", "stylize"))
    assert comes(lambda: embedded.parts() + styled.parts() >= 1, PATIENCE_S)
    cluster.nodes[-1].kill()
    before = embedded.parts() + styled.parts()
    assert comes(lambda: embedded.parts() + styled.parts() > before or "_SUCCESS" in styled.files(), PATIENCE_S)
    kill_driver(cluster)
    ended = pixelmill(user, "resume", mine.out, *there, "--wait", timeout_s=3 * PATIENCE_S)
    assert ended.code == 0, ended.stderr
    for output, vector in ((embedded, "embedding"), (styled, None)):
        assert assert_every_input_in_one_row(output, inputs=PICTURES, vector=vector) == {}
    assert sum(not name.startswith("_") for name in Output(f"{mine.out}/export", mine.gateway.env).files()) == PICTURES
    assert json.loads(pixelmill(user, "status", mine.out, "--json").stdout)["state"] == "complete"


SERIES, STRANGERS = 23, 3
CT_FLOW = ROOT / "jobs/examples/flow-ct.yaml"
"""Its network is made small here, and its series are allowed to be broken, as phantoms are."""
RESUMES = re.compile(r"resumes at step ([\d,]+)")
SMALL = {
    "ingest": "run.max_failed_fraction=1 out.file_mb=1",
    "pretrain": "widths=[4,8] size_px=32 crop_px=16 patch_px=8 batch=4 drop_air=false hold_out=0 run.checkpoint_every_s=1",
}


def small_ct_flow(folder: Path, steps: int) -> str:
    document = yaml.safe_load(CT_FLOW.read_text())
    document["parameters"]["steps"] = steps
    for name, settings in SMALL.items():
        document["steps"][name]["run"] += [word for setting in settings.split() for word in ("--set", setting)]
    (folder / "flow.yaml").write_text(yaml.safe_dump(document, sort_keys=False))
    return str(folder / "flow.yaml")


def resumed_at(trained: Output) -> int:
    """The last step that an attempt says it resumes at; 0 where none did."""
    logs = [trained.read(name).decode(errors="replace") for name in trained.files("_run") if "log" in name]
    return max((int(found.replace(",", "")) for log in logs for found in RESUMES.findall(log)), default=0)


def test_a_ct_flow_that_loses_a_node_and_its_driver_pretrains_on_and_embeds_every_slice_once(
    mine: Mine, cluster: RayCluster, tmp_path: Path
) -> None:
    planted, failing = write_archive(tmp_path / "archive", SERIES)
    objects = mine.gateway.put_folder(mine.bucket, "dicom", tmp_path / "archive") - STRANGERS
    user, values = client(mine, cluster), {"SCANS_BUCKET": mine.bucket, "RESULTS_BUCKET": mine.bucket}
    user.environment.update(values)
    there = ["--address", cluster.address, *(word for name in values for word in ("--env", name)), "--secret", VARIABLE]
    submitted = pixelmill(user, "submit", small_ct_flow(tmp_path, steps=300), *there)
    assert submitted.code == 0, submitted.stderr
    mine.out = f"s3://{mine.bucket}/flow-ct"
    index, slices, trained, codes = (
        Output(f"{mine.out}/{step}", mine.gateway.env) for step in ("index", "ingest", "pretrain", "embed")
    )

    assert comes(lambda: index.parts() >= 1, PATIENCE_S), "the index was not begun"
    finished = index.finished_uris()
    assert len(finished) < objects, "the index was complete before a node could be lost"
    cluster.nodes[-1].kill()
    assert comes(lambda: "_run/last.json" in trained.files(), 3 * PATIENCE_S), "no checkpoint was saved"
    before = {uri: mine.gets(uri) for uri in index.finished_uris()}
    kill_driver(cluster)
    assert "_SUCCESS" not in trained.files()

    ended = pixelmill(user, "resume", mine.out, *there, "--wait", timeout_s=3 * PATIENCE_S)
    assert ended.code == 0, ended.stderr
    assert {uri: mine.gets(uri) for uri in before} == before, "the archive was read again"
    assert sum(assert_every_input_in_one_row(index, inputs=objects, vector=None).values()) == failing
    assert found_series(pq.read_table(io.BytesIO(index.read("series/part-00000.parquet")))) == planted
    listed, data, failed = slices.listed_ids(), slices.table("data"), slices.table("failed")
    assert sorted(listed) == sorted({*data["id"].to_pylist(), *failed["id"].to_pylist()})
    assert assert_every_input_in_one_row(codes, inputs=data.num_rows) == {}
    assert resumed_at(trained) > 0, "the second training began anew"
    assert json.loads(pixelmill(user, "status", mine.out, "--json").stdout)["state"] == "complete"
