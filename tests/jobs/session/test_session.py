"""Every end of an attempt is recorded, and another attempt that has taken over counts for more than any error."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from pixelmill.pipelines.outputs.claims import Claim
from pixelmill.pipelines.stores.access import Access
from pixelmill.pipelines.stores.folder import Folder
from pixelmill.workers.errors import ClaimLost, JobStopped, RunHeld
from tests.jobs.session.held import held_session


@pytest.fixture
def out(tmp_path: Path) -> Folder:
    return Folder(str(tmp_path / "out"), Access())


def record(out: Folder, epoch: int = 1) -> dict[str, Any]:
    return json.loads(out.read(f"_run/attempts/{epoch:04d}/record.json") or b"{}")


def test_an_attempt_that_ends_well_is_recorded_with_what_its_kind_adds_and_its_log(out: Folder) -> None:
    with held_session(out) as held:
        assert held.held.claim.epoch == 1
        assert record(out) == {}
    made = record(out)
    assert (made["ended"], made["error"], made["cause"], made["own"]) == ("complete", None, "complete", 1)
    assert out.read("_run/attempts/0001/log.txt") == b"said\n"


def test_an_error_is_raised_as_it_is_and_recorded_without_secrets(out: Folder) -> None:
    with pytest.raises(JobStopped, match="too many"), held_session(out):
        raise JobStopped("too many rows fail in s3://key:password@store/in")
    made = record(out)
    assert (made["ended"], made["cause"]) == ("JobStopped", "error")
    assert "password" not in made["error"]


def test_ctrl_c_is_recorded_too(out: Folder) -> None:
    with pytest.raises(KeyboardInterrupt), held_session(out):
        raise KeyboardInterrupt
    assert record(out)["ended"] == "KeyboardInterrupt"


def test_a_folder_that_is_held_is_refused_and_the_holder_is_not_disturbed(out: Folder) -> None:
    with held_session(out), pytest.raises(RunHeld), held_session(out):
        pass
    assert record(out)["ended"] == "complete"
    assert record(out, 2) == {}


def test_the_next_attempt_has_the_next_number_and_its_events_too(out: Folder) -> None:
    for epoch in (1, 2):
        with held_session(out) as held:
            held.events.phase("listing")
            assert held.events.status.attempt == held.held.claim.epoch == epoch


def test_an_error_behind_a_lost_claim_is_the_loss(out: Folder) -> None:
    def overtaken() -> None:
        with held_session(out) as held:
            later = Claim(held.held.claim.epoch + 1, "f" * 32, out.is_fenced)
            assert out.create(later.file, b"{}")
            raise ValueError("because of it")

    with pytest.raises(ClaimLost) as raised:
        overtaken()
    assert isinstance(raised.value.__cause__, ValueError)


def test_a_log_that_can_not_be_published_hides_no_error(out: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    def gone(*_: object) -> None:
        raise OSError("the store is gone")

    monkeypatch.setattr("tests.jobs.session.held.publish_log", gone)
    with pytest.raises(JobStopped), held_session(out):
        raise JobStopped("the cause")
    assert record(out)["error"] == "the cause"
