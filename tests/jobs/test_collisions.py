"""A folder whose packages are called like the floors: the command works in it, runs none of its code, and leaves it its names.

Ray puts the working directory first on the path of its workers, and `PYTHONPATH=.` puts it first on the driver's.
"""

from __future__ import annotations

import json
import re
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.installation import Installation, Kind
from tests.support import Home, Output, assert_every_input_in_one_row, pictures, pixelmill

pytestmark = pytest.mark.timeout(1200)

MODEL = "torchvision:mobilenet_v3_small/random"
NAMES = ("jobs", "pipelines", "workers")
LEAVES_A_MARK = """
import os
from pathlib import Path

MINE = True
Path("{marks}", f"{name}-{{os.getpid()}}").touch()
"""
TRAINING = ["batch=8", "size_px=16", "latent_size=4", "hidden=32", "channels=3", "steps=10", "run.threads=1"]
WHEEL_FIRST = pytest.mark.parametrize("kind", ["wheel", pytest.param("editable", marks=pytest.mark.slow)])


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A user's project with a module `jobs` and packages `pipelines` and `workers`; importing one leaves a mark."""
    folder, marks = tmp_path / "project", tmp_path / "marks"
    pictures(folder / "in", 4)
    marks.mkdir()
    files = {"jobs": "jobs.py", "pipelines": "pipelines/__init__.py", "workers": "workers/__init__.py"}
    for name, file in files.items():
        (folder / file).parent.mkdir(exist_ok=True)
        (folder / file).write_text(LEAVES_A_MARK.format(marks=marks, name=name), encoding="utf-8")
    return folder


def marks_of(project: Path) -> list[str]:
    """What of the project was imported, a mark for each process."""
    return sorted(path.name for path in (project.parent / "marks").iterdir())


def installed_user(user: Home, path: str | None) -> Home:
    """The user without the checkout on the path, and with PYTHONPATH set where `path` is."""
    environment = {name: value for name, value in user.environment.items() if name != "PYTHONPATH"}
    return Home(user.folder, environment | ({} if path is None else {"PYTHONPATH": path}))


@WHEEL_FIRST
@pytest.mark.parametrize("path", [".", pytest.param(None, marks=pytest.mark.slow)])
def test_embed_and_its_workers_run_nothing_of_the_project(
    user: Home, installations: dict[Kind, Installation], project: Path, kind: Kind, path: str | None
) -> None:
    command = ["embed", "in", "out", "--model", MODEL]
    done = pixelmill(installed_user(user, path), *command, cwd=project, command=[str(installations[kind].command)])
    assert done.code == 0, done.stderr
    assert_every_input_in_one_row(Output(str(project / "out")), inputs=4)
    assert marks_of(project) == []


@pytest.mark.slow  # Ray Train starts its workers as Ray starts those of a bulk job
@WHEEL_FIRST
def test_a_training_and_its_workers_run_nothing_of_the_project(
    user: Home, installations: dict[Kind, Installation], project: Path, kind: Kind
) -> None:
    pictures(project / "in", 16, size=(16, 16))
    settings = [word for setting in TRAINING for word in ("--set", setting)]
    command = ["train", "vae", "--data", "in", "--out", "out", *settings]
    done = pixelmill(installed_user(user, "."), *command, cwd=project, command=[str(installations[kind].command)])
    assert done.code == 0, done.stderr
    assert (project / "out" / "model.safetensors").exists()
    assert marks_of(project) == []


SCRIPT = """
import json
import pixelmill.jobs, pixelmill.pipelines, pixelmill.workers
import ray

def look():
    import jobs, pipelines, workers
    import pixelmill.jobs, pixelmill.pipelines, pixelmill.workers
    theirs = [jobs.MINE, pipelines.MINE, workers.MINE]
    return theirs + [each.__name__ for each in (pixelmill.jobs, pixelmill.pipelines, pixelmill.workers)]

ray.init(address="local", num_cpus=1, include_dashboard=False, log_to_driver=False)
print(json.dumps([look(), ray.get(ray.remote(look).remote())]))
"""


@WHEEL_FIRST
def test_the_project_imports_its_own_by_these_names_in_the_driver_and_in_a_worker(
    user: Home, installations: dict[Kind, Installation], project: Path, kind: Kind
) -> None:
    (project / "script.py").write_text(SCRIPT, encoding="utf-8")
    command = [str(installations[kind].python), "script.py"]
    environment = installed_user(user, None).environment
    done = subprocess.run(command, cwd=project, env=environment, capture_output=True, text=True)
    expected = [True, True, True, *(f"pixelmill.{name}" for name in NAMES)]
    assert json.loads(done.stdout.splitlines()[-1]) == [expected, expected], done.stderr
    assert {mark.partition("-")[0] for mark in marks_of(project)} == set(NAMES)


# ray job submit


@contextmanager
def cluster(at: Installation, environment: dict[str, str]) -> Iterator[str]:
    """A Ray cluster of one node with a dashboard, started by the installation's Python; gives the dashboard's address."""
    with tempfile.TemporaryDirectory(prefix="r", dir="/tmp") as folder:
        options = ["--head", "--block", "--port=0", "--dashboard-port=0", "--num-cpus=2", f"--temp-dir={folder}/r"]
        options += ["--node-ip-address=127.0.0.1", "--include-dashboard=true", "--disable-usage-stats"]
        log = Path(folder) / "log"
        with log.open("wb") as out:
            head = subprocess.Popen(
                [str(at.python), "-m", "ray.scripts.scripts", "start", *options],
                env=environment,
                stdout=out,
                stderr=subprocess.STDOUT,
            )
        try:
            yield dashboard_of(Path(folder) / "r", log, head)
        finally:
            head.terminate()  # of a head that blocks, which ends all that it started
            head.wait(60)


def dashboard_of(folder: Path, log: Path, head: subprocess.Popen[bytes]) -> str:
    for _ in range(600):
        assert head.poll() is None, log.read_text(errors="replace")
        for file in folder.glob("session_2*/logs/dashboard.log"):
            found = re.search(r"Dashboard head http address: ([\d.]+:\d+)", file.read_text(errors="replace"))
            if found:
                return f"http://{found[1]}"
        time.sleep(0.2)
    raise AssertionError(f"no dashboard:\n{log.read_text(errors='replace')}")


def submitted(command: list[str], environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """A job that was submitted and waited for; the node's agent, which takes it, starts after the dashboard."""
    for _ in range(60):
        done = subprocess.run(command, env=environment, capture_output=True, text=True)
        if "No available agent" not in done.stderr:
            return done
        time.sleep(1.0)
    raise AssertionError(f"no agent took the job:\n{done.stderr}")


@pytest.mark.slow
def test_a_job_that_is_submitted_with_the_project_runs_nothing_of_it(
    user: Home, installations: dict[Kind, Installation], project: Path
) -> None:
    at = installations["wheel"]
    environment = installed_user(user, None).environment | {"RAY_AUTH_MODE": "disabled"}
    out = project.parent / "out"
    with cluster(at, environment) as address:
        submit = [str(at.python), "-m", "ray.scripts.scripts", "job", "submit", "--address", address]
        submit += ["--working-dir", str(project), "--", str(at.command), "embed", "in", str(out), "--model", MODEL]
        done = submitted(submit, environment)
    assert "succeeded" in done.stdout, done.stdout + done.stderr
    assert_every_input_in_one_row(Output(str(out)), inputs=4)
    assert marks_of(project) == []
