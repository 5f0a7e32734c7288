"""A node at work on a run is cut off from its cluster and its store, believed dead, and joined again.

python -m tests.faults.partitioned FOLDER    in a network of its own; see tests/faults/test_cluster_nodes.py
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

from tests.faults.clusters import PATIENCE_S, client, finished, job_of, nodes_of
from tests.faults.conftest import Mine
from tests.faults.suspended import decided
from tests.servers.faulty_proxy import FaultyProxy
from tests.servers.gateway import Gateway
from tests.servers.networks import HERE, THERE, Cable
from tests.servers.ray_cluster import Node, RayCluster
from tests.support import Run, assert_every_input_in_one_row, home
from tests.waiting import comes

ROWS = 600
DIRECT = f"127.0.0.1,{HERE},{THERE}"
AGAIN_S = 60.0
"""How long what was cut off may try to change anything, once it is joined again."""


def main(folder: Path) -> None:
    with Cable() as cable, Gateway() as gateway, FaultyProxy(gateway, host=HERE) as proxy, home(proxy.env) as user:
        user.environment["NO_PROXY"] = DIRECT
        gateway.make_bucket("cut-off")
        mine = Mine(gateway, proxy, user, "cut-off", "s3://cut-off/out")
        mine.fill(ROWS)
        with RayCluster({**nodes_of(mine), "NO_PROXY": DIRECT}, head_cpus=0, host=HERE) as cluster:
            cluster.add_node(1, host=HERE)
            away = cluster.add_node(1, host=THERE, under=cable.there)
            words = ["submit", job_of(mine, folder), "--address", cluster.address, "--wait"]
            with Run(client(mine, cluster), *words) as waiting:
                waiting.wait_until(lambda: at_work(mine, away), "the node was at work", PATIENCE_S)
                cable.cut()
                before, at_s = finished(mine), time.monotonic()
                assert comes(lambda: cluster.alive_nodes() == 2, PATIENCE_S), "the node was not believed dead"
                dead_s = time.monotonic() - at_s
                assert comes(lambda: finished(mine) > before, PATIENCE_S), waiting.stderr
                assert "MillActor" in " ".join(away.titles()), "its worker did not outlive the belief that it is dead"
                mine.seal()
                cable.mend()
                assert waiting.wait(PATIENCE_S) == 0, waiting.stderr
                complete = decided(mine.output)
                mine.seal()
                time.sleep(AGAIN_S)
                assert decided(mine.output) == complete
        assert assert_every_input_in_one_row(mine.output, inputs=ROWS) == {}
        assert mine.fetched_again() == {}
        again = sum(mine.gets(uri) > 1 for uri in mine.uris)
        sys.stdout.write(f"a node cut off: believed dead after {dead_s:.0f} s, {again} of {ROWS} read again\n")


def at_work(mine: Mine, node: Node) -> bool:
    return mine.output.parts() >= 3 and "MillActor" in " ".join(node.titles())


if __name__ == "__main__":
    main(Path(sys.argv[1]))
