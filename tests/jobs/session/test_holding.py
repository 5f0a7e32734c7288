"""A run is held from the claim to the record: its holder shows that it lives, finds out when it has lost, and ends once."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from pixelmill.jobs.host.process import ProcessIdentity
from pixelmill.jobs.session import holding as module
from pixelmill.jobs.session.holding import Holding, holding, is_gone
from pixelmill.pipelines.outputs import claims
from pixelmill.pipelines.outputs.claims import BEAT, RECORD, Claim
from pixelmill.pipelines.stores.access import Access
from pixelmill.pipelines.stores.folder import Folder
from pixelmill.workers.errors import ClaimLost, JobStopped, RunRefused
from tests.waiting import comes

NOW_S = 86_400.0


@pytest.fixture
def out(tmp_path: Path) -> Folder:
    return Folder(str(tmp_path / "out"), Access())


@pytest.fixture(autouse=True)
def in_a_hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    for place, name in ((module, "BEAT_S"), (module, "SETTLE_S"), (claims, "POLL_S")):
        monkeypatch.setattr(place, name, 0.05)


@pytest.fixture
def held(out: Folder) -> Iterator[Holding]:
    with holding(out, "run", lambda: NOW_S, lambda _: None) as held:
        yield held


def take_over(out: Folder, held: Holding) -> Claim:
    """As another process does that has seen no sign of life for a lease."""
    claim = Claim(held.claim.epoch + 1, "f" * 32, out.is_fenced)
    assert out.create(claim.file, b"{}")
    return claim


def read(out: Folder, name: str) -> dict[str, object]:
    return json.loads(out.read(name) or b"{}")


@pytest.mark.parametrize("holder", [{}, {"host": "elsewhere", "pid": 1}, {"pid": "many"}])
def test_a_holder_of_whom_nothing_is_known_is_not_gone(holder: dict[str, object]) -> None:
    assert not is_gone(holder)


def test_this_process_is_not_gone_and_one_that_had_its_pid_before_is() -> None:
    me = ProcessIdentity.current().to_json()
    assert not is_gone(me)
    assert is_gone(me | {"started": me["started"] - 1})


def test_a_claim_says_who_holds_the_run_for_what_and_since_when(out: Folder, held: Holding) -> None:
    claim = read(out, held.claim.file)
    assert claim["doing"] == "run"
    assert claim["claimed_at"] == "1970-01-02T00:00:00+00:00"
    assert claim["conditional_writes"] is True
    assert ProcessIdentity.from_json(claim) == ProcessIdentity.current()


def test_it_beats_while_it_is_held_and_no_longer(out: Folder) -> None:
    with holding(out, "run", lambda: NOW_S, lambda _: None) as held:
        beat = f"{held.claim.folder}/{BEAT}"
        assert comes(lambda: read(out, beat).get("beat", 0) >= 3)  # type: ignore[operator]
    last = read(out, beat)
    time.sleep(0.2)
    assert read(out, beat) == last


def test_who_comes_while_it_beats_is_refused_and_who_comes_after_it_is_not(out: Folder, held: Holding) -> None:
    with (
        pytest.raises(RunRefused, match="is being written by process"),
        holding(out, "run", lambda: NOW_S, lambda _: None),
    ):
        pass
    held.release({})
    with holding(out, "retry", lambda: NOW_S, lambda _: None) as following:
        assert following.claim.epoch == held.claim.epoch + 1


def test_only_the_first_release_is_recorded_and_every_end_of_the_block_is_one(out: Folder) -> None:
    with pytest.raises(KeyboardInterrupt), holding(out, "run", lambda: NOW_S, lambda _: None) as held:
        raise KeyboardInterrupt
    assert out.read(f"{held.claim.folder}/{RECORD}") == b"{}"
    with holding(out, "run", lambda: NOW_S, lambda _: None) as held:
        held.release({"ended": "complete"})
        held.release({"ended": "again"})
    assert read(out, f"{held.claim.folder}/{RECORD}") == {"ended": "complete"}


def test_who_was_overtaken_finds_out_by_itself_and_may_write_nothing_more(out: Folder, held: Holding) -> None:
    held.require()
    held.raise_if_over()
    assert not held.is_lost
    take_over(out, held)
    assert comes(lambda: held.is_lost)
    for ask in (held.require, held.raise_if_over):
        with pytest.raises(ClaimLost, match="attempt 2 has taken over"):
            ask()


def test_the_beat_asks_the_store_and_raise_if_over_does_not(
    out: Folder, held: Holding, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert comes(lambda: read(out, f"{held.claim.folder}/{BEAT}"))

    def refuse(*_: object) -> None:
        raise AssertionError("the store was asked")

    monkeypatch.setattr(claims, "require", refuse)
    held.raise_if_over()


def test_a_store_that_fails_costs_a_beat_and_not_the_run(
    out: Folder, held: Holding, monkeypatch: pytest.MonkeyPatch
) -> None:
    tries = list[str]()

    def fail(name: str, data: bytes) -> None:
        tries.append(name)
        raise OSError("away")

    monkeypatch.setattr(held.brief, "publish", fail)
    assert comes(lambda: len(tries) >= 3)
    assert not held.is_lost
    held.require()


def test_behind_an_error_stands_the_loss_of_the_claim_where_there_was_one(out: Folder, held: Holding) -> None:
    error, refused, interrupt = JobStopped("Ray died"), RunRefused("theirs"), KeyboardInterrupt()
    assert held.loss_behind(error) is error
    take_over(out, held)
    assert isinstance(held.loss_behind(error), ClaimLost)
    assert held.loss_behind(refused) is refused
    assert held.loss_behind(interrupt) is interrupt


@pytest.mark.parametrize("ended", [True, False])
def test_an_earlier_attempt_may_wake_up_unless_it_has_ended(out: Folder, ended: bool) -> None:
    earlier = Claim(1, "0" * 32, out.is_fenced)
    assert out.create(earlier.file, json.dumps({"host": "elsewhere", "pid": 1}).encode())
    if ended:
        out.create(f"{earlier.folder}/{RECORD}", b"{}")
    held = Holding(out, take_over(out, Holding(out, earlier)))
    assert held.follows_unknown(1) is not ended
    assert not held.follows_unknown(2)


def test_where_a_store_can_not_refuse_a_claim_settles_before_it_decides_anything(
    out: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "SETTLE_S", 0.3)
    claim = Claim(1, "0" * 32, is_fenced=False)
    out.publish(claim.file, b"{}")
    began_s = time.monotonic()
    held = Holding(out, claim)
    for _ in range(2):
        held.require()
        assert 0.3 <= time.monotonic() - began_s < 0.55  # the second one waits no more
