"""A file submitted to a job server: compared, sent, named, attached to, waited for. Its jobs are processes of this machine."""

from __future__ import annotations

import json
import re
import threading
import zipfile
from io import BytesIO
from pathlib import Path

import pytest

from pixelmill.jobs.session.job_server import ClusterJob
from pixelmill.jobs.submission.submitting import require_fit
from pixelmill.workers.errors import JobError
from tests.servers.job_server import LocalJobs
from tests.support import Ended, Home, Output, assert_every_input_in_one_row, home, job_file, pictures, pixelmill
from tests.waiting import comes

pytestmark = pytest.mark.timeout(900)
SECRET = "hunter2-hunter2"


def submit(user: Home, job: str, jobs: LocalJobs, *words: str) -> Ended:
    return pixelmill(user, "submit", job, "--address", jobs.address, *words)


def names(jobs: LocalJobs) -> list[str]:
    """The submissions but those that compare."""
    return [name for name in jobs.jobs if "-probe-" not in name]


def refused(ended: Ended, jobs: LocalJobs, *words: str) -> None:
    """With exit code 2 and these words, and nothing but the comparison was started."""
    assert ended.code == 2, ended.stderr
    for word in words:
        assert word in ended.stderr
    assert "Traceback" not in ended.stderr
    assert names(jobs) == []


def test_a_job_runs_there_with_the_code_of_this_one_and_its_exit_code_comes_back(tmp_path: Path) -> None:
    pictures(tmp_path / "in", 5)
    (tmp_path / "in" / "broken.jpg").write_bytes(b"\xff\xd8 no picture")
    job = job_file(tmp_path / "job.yaml", str(tmp_path / "in"), str(tmp_path / "out"), max_failed_fraction=1.0)
    with home() as user, LocalJobs(user.environment) as jobs:
        ended = submit(user, job, jobs, "--wait", "--follow")
        assert ended.code == 3, ended.stderr  # complete, and one input failed
        assert "5 done, 1 failed of 6 inputs" in ended.stderr
        (name,) = names(jobs)
        request = jobs.jobs[name]
        assert request["runtime_env"]["env_vars"] == {"RAY_JOB_STOP_WAIT_TIME_S": "90"}
        assert request["entrypoint"].startswith("python -m pixelmill supervise job.yaml")
        assert name.endswith("-0001")
        again = submit(user, job, jobs, "--wait")
        assert again.code == 3
        assert (
            names(jobs)[1].rpartition("-")[2] > "0001"
        )  # "0002", unless the first one was interrupted and tried again
    assert_every_input_in_one_row(Output(str(tmp_path / "out")), inputs=6)
    assert "pixelmill/jobs/cli.py" in zipfile.ZipFile(BytesIO(next(iter(jobs.packages.values())))).namelist()


@pytest.mark.slow
def test_a_relative_place_of_a_job_file_is_that_of_the_one_who_submits(tmp_path: Path) -> None:
    pictures(tmp_path / "in", 1)
    job = job_file(tmp_path / "job.yaml", "in", "out")
    with home() as user, LocalJobs(user.environment) as jobs:
        ended = pixelmill(user, "submit", job, "--address", jobs.address, cwd=tmp_path)
        assert ended.code == 0, ended.stderr
        sent = zipfile.ZipFile(BytesIO(next(iter(jobs.packages.values()))))
    text = sent.read("job.yaml").decode()
    assert f"source: {tmp_path}/in" in text
    assert f"out: {tmp_path}/out" in text


@pytest.mark.slow
def test_a_second_submission_attaches_to_the_first(tmp_path: Path) -> None:
    pictures(tmp_path / "in", 1)
    job = job_file(tmp_path / "job.yaml", str(tmp_path / "in"), str(tmp_path / "out"))
    with home() as user, LocalJobs(user.environment) as jobs:
        ended = list[Ended]()
        both = [threading.Thread(target=lambda: ended.append(submit(user, job, jobs, "--wait"))) for _ in range(2)]
        for each in both:
            each.start()
        for each in both:
            each.join()
        assert [each.code for each in ended] == [0, 0], [each.stderr for each in ended]
        assert len(names(jobs)) == 1 or "attached" not in "".join(each.stderr for each in ended)
    assert_every_input_in_one_row(Output(str(tmp_path / "out")), inputs=1)


def test_a_cluster_with_another_ray_is_refused(tmp_path: Path) -> None:
    pictures(tmp_path / "in", 1)
    job = job_file(tmp_path / "job.yaml", str(tmp_path / "in"), str(tmp_path / "out"))
    with home() as user, LocalJobs(ray_version="2.9.9") as jobs:
        refused(submit(user, job, jobs), jobs, "runs Ray 2.9.9", "install 'ray[default]==2.9.9' here")
        assert jobs.jobs == {}
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_a_secret_is_named_checked_there_and_never_sent(tmp_path: Path) -> None:
    pictures(tmp_path / "in", 1)
    job = job_file(tmp_path / "job.yaml", str(tmp_path / "in"), str(tmp_path / "out"))
    own = {"MY_TOKEN": SECRET}
    with home(own) as user, LocalJobs({k: v for k, v in user.environment.items() if k != "MY_TOKEN"}) as jobs:
        refused(submit(user, job, jobs, "--env", "MY_TOKEN"), jobs, "looks like a secret", "--secret MY_TOKEN")
        refused(submit(user, job, jobs, "--secret", "MY_TOKEN"), jobs, "MY_TOKEN is not set on the cluster's node")
        jobs.environment["MY_TOKEN"] = SECRET
        ended = submit(user, job, jobs, "--secret", "MY_TOKEN", "--wait", "--follow")
        assert ended.code == 0, ended.stderr
        assert SECRET not in ended.stderr + ended.stdout + json.dumps(jobs.jobs)
        assert not any(SECRET in jobs.log(name) for name in jobs.jobs)
        for data in jobs.packages.values():
            sent = zipfile.ZipFile(BytesIO(data))
            assert not any(SECRET.encode() in sent.read(name) for name in sent.namelist())
    assert not any(SECRET.encode() in path.read_bytes() for path in (tmp_path / "out").rglob("*") if path.is_file())


@pytest.mark.slow
def test_a_reference_that_names_another_place_there_is_refused(tmp_path: Path) -> None:
    pictures(tmp_path / "in", 1)
    job = job_file(tmp_path / "job.yaml", str(tmp_path / "in"), f"{tmp_path}/${{WHERE}}")
    with home({"WHERE": "here"}) as user, LocalJobs({**user.environment, "WHERE": "there"}) as jobs:
        refused(submit(user, job, jobs), jobs, "other values on the cluster")
        assert submit(user, job, jobs, "--env", "WHERE").code == 0


def test_what_the_cluster_does_not_have_is_reported_with_the_next_step(tmp_path: Path) -> None:
    pictures(tmp_path / "in", 1)
    job = job_file(tmp_path / "job.yaml", str(tmp_path / "in"), str(tmp_path / "out"))
    with home() as user, LocalJobs(user.environment) as jobs:
        refused(submit(user, job, jobs, "--python", "no-such-python"), jobs, "could not start Pixelmill", "--python")
        refused(submit(user, job, jobs, "--code", "wheel"), jobs, "--code wheel: there are send")


def test_a_wrong_token_a_wrong_address_and_no_address_are_refused(tmp_path: Path) -> None:
    pictures(tmp_path / "in", 1)
    job = job_file(tmp_path / "job.yaml", str(tmp_path / "in"), str(tmp_path / "out"))
    with home() as user, LocalJobs(user.environment, token="right") as jobs:
        wrong = Home(user.folder, {**user.environment, "RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "wrong"})
        refused(submit(wrong, job, jobs), jobs, "the cluster asks for a token", "RAY_AUTH_TOKEN")
        refused(submit(user, job, jobs), jobs, "the cluster asks for a token", "RAY_AUTH_TOKEN")
        refused(pixelmill(user, "submit", job), jobs, "--address http://HEAD:8265")
        refused(
            pixelmill(user, "submit", job, "--address", "127.0.0.1:6379"), jobs, "is not the address of a dashboard"
        )
        refused(pixelmill(user, "submit", job, "--address", "http://127.0.0.1:9"), jobs, "no job server answers there")
        right = Home(user.folder, {**user.environment, "RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "right"})
        assert submit(right, job, jobs).code == 0


@pytest.mark.slow
def test_an_address_of_the_environment_that_overrides_the_given_one_is_reported(tmp_path: Path) -> None:
    pictures(tmp_path / "in", 1)
    job = job_file(tmp_path / "job.yaml", str(tmp_path / "in"), str(tmp_path / "out"))
    with home() as user, LocalJobs(user.environment) as jobs, LocalJobs(user.environment) as other:
        overriding = Home(user.folder, {**user.environment, "RAY_ADDRESS": other.address})
        ended = submit(overriding, job, jobs)
        assert ended.code == 0, ended.stderr
        assert f"RAY_ADDRESS={other.address} overrides --address {jobs.address}" in ended.stderr
        assert (len(names(jobs)), len(names(other))) == (0, 1)
        gcs = Home(user.folder, {**user.environment, "RAY_ADDRESS": "127.0.0.1:6379"})
        refused(submit(gcs, job, jobs), jobs, "it overrides --address", "unset RAY_ADDRESS")


def test_an_output_of_another_job_is_refused_before_anything_is_sent(tmp_path: Path) -> None:
    pictures(tmp_path / "in", 1)
    job = job_file(tmp_path / "job.yaml", str(tmp_path / "in"), str(tmp_path / "out"))
    (tmp_path / "out" / "data").mkdir(parents=True)
    (tmp_path / "out" / "data" / "theirs.parquet").write_bytes(b"")
    with home() as user, LocalJobs(user.environment) as jobs:
        refused(submit(user, job, jobs), jobs, "holds files that no run of pixelmill wrote")
        assert jobs.jobs == {}


@pytest.mark.slow
def test_a_driver_that_is_killed_is_submitted_again_while_somebody_waits(tmp_path: Path) -> None:
    pictures(tmp_path / "in", 2)
    job = job_file(tmp_path / "job.yaml", str(tmp_path / "in"), str(tmp_path / "out"))
    with home() as user, LocalJobs(user.environment) as jobs:

        def kill_the_first() -> None:
            comes(lambda: names(jobs) and names(jobs)[0] in jobs.processes, 120.0)
            jobs.processes[names(jobs)[0]].kill()

        killer = threading.Thread(target=kill_the_first)
        killer.start()
        ended = submit(user, job, jobs, "--wait")
        killer.join()
        assert ended.code == 0, ended.stderr
        assert "was lost with its driver or cluster; submitted again in 5 s" in ended.stderr
        assert len(names(jobs)) == 2
    assert_every_input_in_one_row(Output(str(tmp_path / "out")), inputs=2)


RAYS_LINE = "INFO job_manager.py:581 -- Runtime env is setting up.\n"


@pytest.mark.parametrize(
    ("log", "message", "reason"),
    [
        (RAYS_LINE, "The actor died:\n its node was lost", "The actor died: its node was lost;"),
        (
            f"{RAYS_LINE}No module named pixelmill\n",
            "Job entrypoint command failed with exit code 1",
            "named pixelmill;",
        ),
        ("", "", "it printed nothing;"),
    ],
)
def test_a_command_that_was_never_begun_is_reported_with_the_reason_that_ray_gives(
    log: str, message: str, reason: str
) -> None:
    with pytest.raises(JobError, match=re.escape(reason)):
        require_fit(None, ClusterJob("FAILED", message), log, "http://head:8265", ships_code=True)
