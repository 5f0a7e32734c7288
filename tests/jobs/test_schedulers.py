"""The examples for Airflow and Dagster in docs/cluster.md do with each exit code what its table says.

tests/toys/schedulers has the few names of both that the examples use, as their documentation has them. The last tests run the
examples in the real ones, where PATH has the commands `airflow` and `dagster`; each may lie in an environment of its own:

    python -m venv /tmp/airflow && /tmp/airflow/bin/pip install apache-airflow==3.3.2
    python -m venv /tmp/dagster && /tmp/dagster/bin/pip install dagster==1.13.29
    PATH=$PATH:/tmp/airflow/bin:/tmp/dagster/bin python -m pytest tests/jobs/test_schedulers.py
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.architecture import ROOT
from tests.servers.job_server import LocalJobs
from tests.support import COMMAND, Output, assert_every_input_in_one_row, home, job_file, pictures

SCHEDULERS = ROOT / "tests/toys/schedulers"
BLOCK = r'```python title="{}"\n(.*?)```'
RAN = """
import json, sys
script, = sys.argv[1:]
names = {}
try:
    exec(compile(open(script).read(), script, "exec"), names)
    error = None
except Exception as raised:
    error = type(raised).__name__
from %s import BEGUN
print(json.dumps([len(BEGUN), error]))
"""
EXAMPLES = {"airflow_dag.py": "airflow.sdk", "dagster_job.py": "dagster"}
GOES_ON, NEVER_AGAIN, AGAIN = {0, 3}, {2, 4}, {1, 75, 130}


def example(name: str) -> str:
    found = re.search(BLOCK.format(re.escape(name)), (ROOT / "docs/cluster.md").read_text(), re.DOTALL)
    assert found is not None
    return found[1]


def in_place_of_pixelmill(script: str, folder: Path) -> None:
    command = folder / "pixelmill"
    command.write_text(f"#!/bin/sh\n{script}\n")
    command.chmod(0o755)


def ends_with(code: int, folder: Path) -> None:
    """A command that writes down its words and ends with this code."""
    in_place_of_pixelmill(f'echo "$@" >> {folder}/words\nexit {code}', folder)


def begun_and_error(name: str, code: int, folder: Path) -> tuple[int, str | None]:
    """How often the example began its command, which ends with this code, and the error that it ended with."""
    (folder / "example.py").write_text(example(name))
    ends_with(code, folder)
    environment = {**os.environ, "PATH": f"{folder}:{os.environ['PATH']}", "PYTHONPATH": str(SCHEDULERS)}
    words = [sys.executable, "-c", RAN % EXAMPLES[name], str(folder / "example.py")]
    done = subprocess.run(words, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    begun, error = json.loads(done.stdout.splitlines()[-1])
    words = set((folder / "words").read_text().splitlines())
    assert words == {"submit /jobs/embed.yaml --address http://head:8265 --wait"}
    return begun, error


@pytest.mark.parametrize("name", EXAMPLES)
@pytest.mark.parametrize("code", sorted(GOES_ON | NEVER_AGAIN | AGAIN))
def test_an_example_does_with_each_exit_code_what_the_table_says(name: str, code: int, tmp_path: Path) -> None:
    begun, error = begun_and_error(name, code, tmp_path)
    assert (error is None) == (code in GOES_ON)
    assert begun == (4 if code in AGAIN else 1)


# In the real ones

OWN_HOME = {"airflow_dag.py": "AIRFLOW_HOME", "dagster_job.py": "DAGSTER_HOME"}
QUICK = {
    "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
    "AIRFLOW__CORE__DEFAULT_TASK_RETRY_DELAY": "1",
    "PYTHONPATH": "",  # that of this Python, which is another one
}
SCHEDULED = {
    "airflow_dag.py": ("airflow db migrate", "airflow dags test nightly_embeddings"),
    "dagster_job.py": ("dagster asset materialize --select embeddings -f dags/example.py",),
}


def scheduled(name: str, text: str, folder: Path, environment: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    """How the real scheduler ended, which ran the example once with `pixelmill` from the folder. Skips the test without it."""
    lines = [shlex.split(line) for line in SCHEDULED[name]]
    if shutil.which(lines[0][0]) is None:
        pytest.skip(f"there is no command `{lines[0][0]}` on PATH")
    (folder / "dags").mkdir()
    (folder / "dags" / "example.py").write_text(text.replace("delay=30", "delay=1"))
    own = {**environment, **QUICK, OWN_HOME[name]: str(folder), "PATH": f"{folder}:{environment['PATH']}"}
    *_, last = [subprocess.run(words, env=own, cwd=folder, capture_output=True, text=True) for words in lines]
    return last


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("name", EXAMPLES)
@pytest.mark.parametrize("code", [0, 2, 75])
def test_the_real_one_does_with_an_exit_code_what_the_table_says(name: str, code: int, tmp_path: Path) -> None:
    ends_with(code, tmp_path)
    done = scheduled(name, example(name), tmp_path, os.environ)
    assert (done.returncode == 0) == (code in GOES_ON), done.stdout + done.stderr
    assert len((tmp_path / "words").read_text().splitlines()) == (4 if code in AGAIN else 1)


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("name", EXAMPLES)
def test_the_real_one_submits_a_job_and_ends_when_it_is_complete(name: str, tmp_path: Path) -> None:
    pictures(tmp_path / "in", 3)
    job = job_file(tmp_path / "embed.yaml", str(tmp_path / "in"), str(tmp_path / "out"))
    path = shlex.quote(os.environ.get("PYTHONPATH", ""))
    in_place_of_pixelmill(f'PYTHONPATH={path} exec {COMMAND} "$@"', tmp_path)
    with home() as user, LocalJobs(user.environment) as jobs:
        text = example(name).replace("/jobs/embed.yaml", job).replace("http://head:8265", jobs.address)
        done = scheduled(name, text, tmp_path, user.environment)
    assert done.returncode == 0, done.stdout + done.stderr
    assert_every_input_in_one_row(Output(str(tmp_path / "out")), inputs=3)
