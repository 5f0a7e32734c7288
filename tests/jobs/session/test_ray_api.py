"""What a process on a cluster uses of it: a real one, with an idle node."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from tests.servers.ray_cluster import RayCluster

USES = """
import json, sys
import ray
from pixelmill.jobs.session import ray_api

def begun(**options):
    actor = Worker.options(**options).remote()
    ray.get(actor.ping.remote())
    return actor

ray.init(address=sys.argv[1], log_to_driver=False, namespace="test")

@ray.remote
class Worker:
    def ping(self):
        pass

used = [ray_api.nodes_in_use()]
one = begun(num_cpus=1)
used.append(ray_api.nodes_in_use())
helper = begun(num_cpus=0, resources={"idle": 0.1}, lifetime="detached", name="helper")
used.append(ray_api.nodes_in_use())
other = begun(num_cpus=0, resources={"idle": 0.1})
used.append(ray_api.nodes_in_use())
print(json.dumps(used))
"""


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_process_uses_its_node_and_those_of_its_workers_and_no_idle_one_nor_that_of_a_detached_helper() -> None:
    with RayCluster(head_cpus=0) as cluster:
        cluster.add_node(1)
        cluster.add_node(0, {"idle": 1.0})
        command = [sys.executable, "-c", USES, f"127.0.0.1:{cluster.port}"]
        done = subprocess.run(command, env=cluster.of_a_node(), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1]) == [1, 2, 2, 3]
