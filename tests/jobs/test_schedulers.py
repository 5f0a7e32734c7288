"""The examples for Airflow and Dagster in docs/cluster.md do with each exit code what its table says.

tests/toys/schedulers has the few names of both that the examples use, as their documentation has them; neither is installed.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.architecture import ROOT

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


def begun_and_error(name: str, code: int, folder: Path) -> tuple[int, str | None]:
    """How often the example began its command, which ends with this code, and the error that it ended with."""
    (folder / "example.py").write_text(example(name))
    command = folder / "pixelmill"
    command.write_text(f'#!/bin/sh\necho "$@" >> {folder}/words\nexit {code}\n')
    command.chmod(0o755)
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
