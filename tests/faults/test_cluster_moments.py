"""What happens to a driver on a cluster at a chosen moment: it is killed, suspended, or its store is down.

Law 2 and law 6 as in tests/faults/test_fencing.py, with the driver on a node of a cluster and `submit --wait` behind it.

python -m pytest tests/faults/test_cluster_moments.py -s    prints the figures of docs/cluster.md
"""

from __future__ import annotations

import json
import sys
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.architecture import ROOT
from tests.faults.clusters import (
    PATIENCE_S,
    attempts,
    client,
    job_of,
    kill_driver,
    nodes_of,
    suspend_driver,
    suspended,
    wake,
)
from tests.faults.conftest import MODEL, Mine
from tests.faults.suspended import TIMES, Moment, decided
from tests.servers.ray_cluster import RayCluster
from tests.support import Run, assert_every_input_in_one_row, pixelmill

pytestmark = [pytest.mark.slow, pytest.mark.faults, pytest.mark.timeout(3600)]
ROWS = 60
OUTAGE_S = 20.0
EXAMPLE = ROOT / "jobs/examples/embed-cluster.yaml"


@pytest.fixture
def cluster(mine: Mine) -> Iterator[RayCluster]:
    with RayCluster(nodes_of(mine), head_cpus=0) as made:
        made.add_node(2)
        yield made


@contextmanager
def asleep(
    mine: Mine,
    cluster: RayCluster,
    folder: Path,
    moment: Moment,
    *,
    times: dict[str, float] | None = None,
    **run: object,
) -> Iterator[Run]:
    """A submission that somebody waits for, whose process stopped itself at the moment."""
    marker = folder / f"suspended-{uuid.uuid4().hex}"
    variables = moment.variable(marker) | ({"PIXELMILL_TEST_TIMES": json.dumps(times)} if times else {})
    there = [word for name, value in variables.items() for word in ("--env", f"{name}={value}")]
    job = job_of(mine, folder, actors=1, **run)
    with Run(client(mine, cluster), "submit", job, "--address", cluster.address, "--wait", *there) as waiting:
        waiting.wait_until(
            lambda: marker.exists() and suspended(cluster), f"it was {moment.when} {moment.file}", PATIENCE_S
        )
        yield waiting


KILLED = {
    "while it lists": Moment("before", r"_run/manifest/.*\.parquet$"),
    "before it commits the listing": Moment("before", r"_run/manifest/000000\.json$"),
    "before a part is published": Moment("before", r"data/part-"),
    "before it commits the end": Moment("before", r"_SUCCESS$"),
}


def test_a_driver_that_is_killed_while_it_lists_or_commits_is_submitted_again_and_nothing_is_lost(
    mine: Mine, cluster: RayCluster, tmp_path: Path
) -> None:
    mine.fill(ROWS)
    for when, moment in KILLED.items():
        mine.new_output()
        before = sum(mine.gets(uri) for uri in mine.uris)
        with asleep(mine, cluster, tmp_path, moment) as waiting:
            mine.seal()
            at_s = time.monotonic()
            kill_driver(cluster)
            assert waiting.wait(PATIENCE_S) == 0, waiting.stderr
            assert "submitted again in 5 s" in waiting.stderr
        assert assert_every_input_in_one_row(mine.output, inputs=ROWS) == {}
        assert mine.fetched_again() == {}
        more = sum(mine.gets(uri) for uri in mine.uris) - before - ROWS
        sys.stdout.write(
            f"\nkilled {when}: complete after {time.monotonic() - at_s:.0f} s, {more} of {ROWS} read again\n"
        )


def test_a_driver_that_is_suspended_while_another_run_completes_changes_nothing_when_it_wakes_up(
    mine: Mine, cluster: RayCluster, tmp_path: Path
) -> None:
    mine.fill(ROWS)
    with asleep(mine, cluster, tmp_path, KILLED["before it commits the listing"], times=TIMES) as waiting:
        suspend_driver(cluster)
        ended = pixelmill(mine.home, "resume", mine.out, timeout_s=PATIENCE_S)
        assert ended.code == 0, ended.stderr
        assert assert_every_input_in_one_row(mine.output, inputs=ROWS) == {}
        mine.seal()
        before = decided(mine.output)
        wake(cluster)
        assert waiting.wait(PATIENCE_S) in {0, 1}, waiting.stderr
    assert decided(mine.output) == before
    assert mine.fetched_again() == {}


def test_a_store_that_is_down_when_a_run_commits_its_end_costs_time_and_nothing_else(
    mine: Mine, cluster: RayCluster, tmp_path: Path
) -> None:
    mine.fill(ROWS)
    with asleep(mine, cluster, tmp_path, KILLED["before it commits the end"]) as waiting:
        mine.seal()
        mine.gateway.stop()
        try:
            wake(cluster)
            time.sleep(OUTAGE_S)
        finally:
            mine.gateway.start()
        at_s = time.monotonic()
        assert waiting.wait(PATIENCE_S) == 0, waiting.stderr
        sys.stdout.write(
            f"\nstore down for {OUTAGE_S:g} s: complete {time.monotonic() - at_s:.0f} s after it was back\n"
        )
    assert assert_every_input_in_one_row(mine.output, inputs=ROWS) == {}
    assert mine.fetched_again() == {}


def test_of_two_submissions_at_once_one_works_and_the_other_finds_it_at_work_or_done(
    mine: Mine, cluster: RayCluster
) -> None:
    mine.fill(ROWS)
    user, mine.out = client(mine, cluster), f"s3://{mine.bucket}/embeddings"
    values = {"PHOTOS_BUCKET": mine.bucket, "RESULTS_BUCKET": mine.bucket, "EMBED_MODEL": MODEL}
    user.environment.update(values)
    words = ["submit", str(EXAMPLE), "--address", cluster.address, "--wait", "--driver-cpus", "1"]
    words += [word for name in values for word in ("--env", name)]
    with Run(user, *words) as first, Run(user, *words) as second:
        assert (first.wait(PATIENCE_S), second.wait(PATIENCE_S)) == (0, 0), first.stderr + second.stderr
    assert assert_every_input_in_one_row(mine.output, inputs=ROWS) == {}
    assert {mine.gets(uri) for uri in mine.uris} == {1}
    attached = any("attached to" in each.stderr for each in (first, second))
    assert attached == (attempts(mine) == 1)
