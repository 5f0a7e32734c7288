"""What is scheduled is checked first, printed with its next times, and installed over nothing that is not ours."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from pixelmill.jobs import cli
from pixelmill.jobs.scheduling.timers import MARK
from pixelmill.workers.errors import JobError
from tests.jobs.kubernetes.manifests import JOB


@pytest.fixture
def job(tmp_path: Path) -> Path:
    (tmp_path / "embed all.yaml").write_text(JOB)
    return tmp_path / "embed all.yaml"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The user's folder of units, and a `systemctl` that records what it is asked for."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    command = tmp_path / "bin" / "systemctl"
    command.parent.mkdir()
    command.write_text(f'#!/bin/sh\necho "$*" >> {tmp_path}/asked\n')
    command.chmod(0o755)
    monkeypatch.setenv("PATH", f"{command.parent}:/usr/bin:/bin")
    return tmp_path / "config/systemd/user"


def test_units_are_printed_with_the_next_times(job: Path) -> None:
    shown = CliRunner().invoke(cli.app, ["schedule", str(job), "0 2 * * *"])
    assert shown.exit_code == 0, shown.output
    assert f'-m pixelmill supervise "{job}" --stopped ok --set run.failures=ok' in shown.stdout
    assert "OnCalendar=*-*-* 02:00:00" in shown.stdout
    assert re.search(r"# next: \w{3} \d{4}-\d\d-\d\d 02:00, ", shown.stdout)


def test_they_are_installed_when_asked_and_again_over_our_own(job: Path, folder: Path, tmp_path: Path) -> None:
    for line in ("0 2 * * *", "0 3 * * *"):
        shown = CliRunner().invoke(cli.app, ["schedule", str(job), line, "--install"])
        assert shown.exit_code == 0, shown.output
        assert "started pixelmill-embed-all.timer: next: " in shown.stdout
    assert sorted(path.name for path in folder.iterdir()) == [
        "pixelmill-embed-all.service",
        "pixelmill-embed-all.timer",
    ]
    assert "03:00:00" in (folder / "pixelmill-embed-all.timer").read_text()
    asked = (tmp_path / "asked").read_text().splitlines()
    assert asked[:2] == ["--user daemon-reload", "--user enable --now pixelmill-embed-all.timer"]


@pytest.mark.parametrize("theirs", ["[Timer]\n", "", "\x00", f"[Unit]\n{MARK}\n"])
def test_a_file_that_is_not_ours_stays_and_nothing_else_is_written(job: Path, folder: Path, theirs: str) -> None:
    folder.mkdir(parents=True)
    timer = folder / "pixelmill-embed-all.timer"
    timer.write_text(theirs)
    with pytest.raises(JobError, match="is not written by pixelmill, and stays as it is; choose another name"):
        cli.app(["schedule", str(job), "0 2 * * *", "--install"], standalone_mode=False)
    assert timer.read_text() == theirs
    assert [path.name for path in folder.iterdir()] == [timer.name]


def test_a_link_to_a_file_is_not_written_through(job: Path, folder: Path, tmp_path: Path) -> None:
    folder.mkdir(parents=True)
    (tmp_path / "theirs").write_text(MARK)
    (folder / "pixelmill-embed-all.timer").symlink_to(tmp_path / "theirs")
    with pytest.raises(JobError, match="is not written by pixelmill"):
        cli.app(["schedule", str(job), "0 2 * * *", "--install"], standalone_mode=False)
    assert (tmp_path / "theirs").read_text() == MARK


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (["{job}", "0 0 30 2 *"], "never fires: Feb has 29 days"),
        (["{job}", "2 am"], "has 2 fields and not 5"),
        (["{job}", "0 2 * * *", "--name", "A b"], "is no name of a unit"),
        (["{job}", "0 2 * * *", "--crontab", "--install"], "add it with `crontab -e`"),
        (["{job}.not", "0 2 * * *"], "there is no such job file"),
    ],
)
def test_what_can_not_be_scheduled_is_refused_before_anything_is_written(
    arguments: list[str], why: str, job: Path, folder: Path
) -> None:
    with pytest.raises(JobError) as refused:
        cli.app(["schedule", *(word.format(job=job) for word in arguments), "--install"], standalone_mode=False)
    assert why in str(refused.value)
    assert not folder.exists()


def test_a_job_that_can_not_be_run_is_not_scheduled(job: Path, folder: Path) -> None:
    job.write_text(JOB.replace("embed:", "embedd:"))
    with pytest.raises(JobError, match="embedd"):
        cli.app(["schedule", str(job), "0 2 * * *", "--install"], standalone_mode=False)
    assert not folder.exists()
