"""Who holds a run: the newest claim, until its process has ended, is provably gone, or shows no life for a lease."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from pixelmill.pipelines.outputs import claims
from pixelmill.pipelines.outputs.claims import (
    BEAT,
    LEASE_S,
    OLD_LOCK,
    RECORD,
    SETTLE_S,
    Claim,
    Holder,
    require,
    standing,
)
from pixelmill.pipelines.stores.folder import Folder
from pixelmill.workers.errors import ClaimLost, PixelmillError, RunRefused

HOLDER = {"host": "elsewhere", "pid": 4321}


class FakeClock:
    """Time that passes when somebody waits; `then` may do what others do meanwhile, and hears what time it is."""

    def __init__(self, then: Callable[[float], None] = lambda _: None) -> None:
        self.now, self.then = 0.0, then

    def monotonic(self) -> float:
        return self.now

    def wait(self, seconds: float) -> None:
        self.now += seconds
        self.then(self.now)


def never_provably(holder: Holder) -> bool:
    return False


def take(
    folder: Folder,
    clock: FakeClock | None = None,
    is_gone: Callable[[Holder], bool] = never_provably,
    said: list[str] | None = None,
) -> Claim:
    say = (said if said is not None else []).append
    return claims.take(folder, HOLDER, is_gone=is_gone, clock=clock or FakeClock(), say=say)


def beat(folder: Folder, claim: Claim, count: int) -> None:
    folder.publish(f"{claim.folder}/{BEAT}", json.dumps({"beat": count}).encode())


def end(folder: Folder, claim: Claim, ended: str = "complete") -> None:
    folder.create(f"{claim.folder}/{RECORD}", json.dumps({"ended": ended}).encode())


# --------------------------------------------------------------------------------------------------- one after another


def test_the_first_claim_of_a_run_is_made_at_once_and_names_its_holder(folder: Folder) -> None:
    clock = FakeClock()
    claim = take(folder, clock)
    assert (claim.epoch, claim.is_fenced, clock.now) == (1, True, 0.0)
    assert claim.file == "_run/attempts/0001/claim.json"
    assert json.loads(folder.read(claim.file) or b"") == {**HOLDER, "token": claim.token}
    assert claims.holds(folder, claim)


@pytest.mark.parametrize("ended", ["complete", "JobStopped"])
def test_an_attempt_that_ended_is_followed_at_once(folder: Folder, ended: str) -> None:
    first = take(folder)
    end(folder, first, ended)
    clock = FakeClock()
    second = take(folder, clock)
    assert (second.epoch, clock.now) == (2, 0.0)
    assert (claims.holds(folder, first), claims.holds(folder, second)) == (False, True)
    assert claims.ended_well(folder, 1) == (ended == "complete")


def test_an_attempt_whose_process_is_provably_gone_is_followed_at_once(folder: Folder) -> None:
    asked: list[Holder] = []
    first, clock = take(folder), FakeClock()
    second = take(folder, clock, lambda holder: not asked.append(holder))
    assert (second.epoch, clock.now) == (2, 0.0)
    assert asked == [{**HOLDER, "token": first.token}]


def test_an_attempt_that_lives_is_never_followed_and_is_named(folder: Folder) -> None:
    first = take(folder)
    beat(folder, first, 1)
    said: list[str] = []
    clock = FakeClock(lambda now: beat(folder, first, 2) if now >= LEASE_S - 3 else None)
    with pytest.raises(RunRefused, match="is being written by process 4321 on elsewhere; wait for it, or stop it"):
        take(folder, clock, said=said)
    assert clock.now < LEASE_S
    assert len(said) == 1
    assert "sign of life of process 4321 on elsewhere" in said[0]
    assert claims.holds(folder, first)
    assert standing(folder).epoch == 1


def test_a_first_beat_is_a_sign_of_life(folder: Folder) -> None:
    first = take(folder)
    with pytest.raises(RunRefused):
        take(folder, FakeClock(lambda now: beat(folder, first, 1)))


@pytest.mark.parametrize("beats", [0, 7])
def test_an_attempt_is_followed_once_its_beat_has_not_changed_for_a_lease_in_any_content(
    folder: Folder, beats: int
) -> None:
    first = take(folder)
    for count in range(beats):
        beat(folder, first, count)
    clock = FakeClock(lambda now: beat(folder, first, beats - 1) if beats else None)  # the same again: nobody counts
    assert take(folder, clock).epoch == 2
    assert LEASE_S <= clock.now < LEASE_S + 2


def test_an_attempt_that_ends_while_another_waits_is_followed_then(folder: Folder) -> None:
    first = take(folder)
    clock = FakeClock(lambda now: end(folder, first) if now > 5 else None)
    assert take(folder, clock).epoch == 2
    assert clock.now < 10


def test_of_two_that_wait_for_the_same_lease_one_is_refused(folder: Folder) -> None:
    """The one that claims first beats while the other one waits for its sign of life."""
    take(folder)
    faster: list[Claim] = []

    def then(now: float) -> None:
        if now == LEASE_S - 1:
            faster.append(take(folder))
        if faster:
            beat(folder, faster[0], int(now))

    clock = FakeClock(then)
    with pytest.raises(RunRefused, match="is being written by process 4321"):
        take(folder, clock)
    assert claims.holds(folder, faster[0])


def test_of_many_that_begin_at_once_each_has_an_epoch_of_its_own(folder: Folder) -> None:
    made: list[Claim] = []
    threads = [threading.Thread(target=lambda: made.append(take(folder, None, lambda _: True))) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({claim.epoch for claim in made}) == len(made) == 6
    assert [claim for claim in made if claims.holds(folder, claim)] == [max(made, key=lambda claim: claim.epoch)]


def test_a_claim_that_another_one_went_past_while_it_was_written_does_not_hold(
    folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a disk the folder of an attempt is there a moment before its claim."""
    original, faster = Folder.create, list[Claim]()

    def slowly(self: Folder, name: str, data: bytes) -> bool:
        if not faster:
            (Path(folder.path) / name).parent.mkdir(parents=True)
            monkeypatch.setattr(Folder, "create", original)
            faster.append(take(folder))
        return original(self, name, data)

    monkeypatch.setattr(Folder, "create", slowly)
    mine = take(folder)
    assert (faster[0].epoch, mine.epoch) == (2, 3)
    assert [claims.holds(folder, claim) for claim in (faster[0], mine)] == [False, True]


@pytest.mark.parametrize("text", [b"", b"{", b"[]", b"7"])
def test_a_claim_that_can_not_be_read_is_waited_for_and_followed(folder: Folder, text: bytes) -> None:
    folder.publish("_run/attempts/0001/claim.json", text)
    clock = FakeClock()
    assert take(folder, clock).epoch == 2
    assert clock.now >= LEASE_S


def test_a_claim_without_a_file_is_followed_at_once(folder: Folder) -> None:
    """A process was killed between the folder of its attempt and its claim: it never wrote anything."""
    (Path(folder.path) / "_run/attempts/0001").mkdir(parents=True)
    clock = FakeClock()
    assert (take(folder, clock).epoch, clock.now) == (2, 0.0)


# ----------------------------------------------------------------------------------------------------------- overtaken


def test_an_attempt_that_was_overtaken_is_stopped_with_a_sentence(folder: Folder) -> None:
    first = take(folder)
    require(folder, first)
    second = take(folder)
    with pytest.raises(ClaimLost, match=r"attempt 2 has taken over since this process .*; it stops here"):
        require(folder, first)
    require(folder, second)
    assert issubclass(ClaimLost, PixelmillError)


def test_whether_an_attempt_may_wake_up_is_known_of_each_since(folder: Folder) -> None:
    first = take(folder)
    second = take(folder)
    end(folder, second)
    third = take(folder)
    assert claims.may_wake(folder, third, 1, never_provably)
    assert not claims.may_wake(folder, third, 2, never_provably)
    assert not claims.may_wake(folder, third, 1, lambda _: True)
    end(folder, first)
    assert not claims.may_wake(folder, third, 1, never_provably)


# --------------------------------------------------------------------------------------- what versions before claims left


def old_lock(folder: Folder, count: int, *, released: bool = False) -> None:
    lock = {"host": "elsewhere", "pid": 4321, "beat": count, "released": released}
    folder.publish(OLD_LOCK, json.dumps(lock).encode())


def test_a_lock_of_an_earlier_version_that_is_written_anew_refuses(folder: Folder) -> None:
    old_lock(folder, 0)
    clock = FakeClock(lambda now: old_lock(folder, int(now)))
    with pytest.raises(RunRefused, match="is being written by process 4321 on elsewhere"):
        take(folder, clock)
    assert standing(folder).epoch == 0


def test_a_lock_of_an_earlier_version_that_shows_no_life_is_followed_after_a_lease(folder: Folder) -> None:
    old_lock(folder, 0)
    said: list[str] = []
    clock = FakeClock()
    assert take(folder, clock, said=said).epoch == 1
    assert LEASE_S <= clock.now < LEASE_S + 2
    assert "process 4321 on elsewhere" in said[0]


@pytest.mark.parametrize("when", ["before", "meanwhile"])
def test_a_lock_of_an_earlier_version_that_was_released_is_none(folder: Folder, when: str) -> None:
    old_lock(folder, 0, released=when == "before")
    clock = FakeClock(lambda now: old_lock(folder, 0, released=True) if now > 3 else None)
    assert take(folder, clock).epoch == 1
    assert clock.now < 6


def test_attempts_are_counted_on_from_those_of_earlier_versions(folder: Folder) -> None:
    for number in (1, 2):
        folder.publish(
            f"_run/attempts/{number:04d}.json", json.dumps({"attempt": number, "ended": "complete"}).encode()
        )
    assert standing(folder).has_ended
    assert claims.ended_well(folder, 2)
    old_lock(folder, 0)  # of whoever made the last of them, and was killed in the next one
    clock = FakeClock()
    assert take(folder, clock).epoch == 3
    assert clock.now >= LEASE_S


def test_an_old_lock_is_looked_at_no_more_once_there_are_claims(folder: Folder) -> None:
    end(folder, take(folder))
    old_lock(folder, 0)
    clock = FakeClock()
    assert (take(folder, clock).epoch, clock.now) == (2, 0.0)


# ------------------------------------------------------------------------------------------- where a store can't refuse


def claim_by_hand(folder: Folder, epoch: int, token: str) -> Claim:
    """What another process writes that looked in the same moment."""
    claim = Claim(epoch, token, is_fenced=False)
    folder.publish(claim.file, json.dumps({**HOLDER, "token": token}).encode())
    return claim


def test_where_a_store_can_not_refuse_the_lowest_token_of_an_epoch_wins(unfenced: Folder) -> None:
    mine = take(unfenced)
    assert mine.file == f"_run/attempts/0001/claim-{mine.token}.json"
    assert claims.holds(unfenced, mine)
    later = claim_by_hand(unfenced, 1, "f" * 32)
    assert (claims.holds(unfenced, mine), claims.holds(unfenced, later)) == (True, False)
    earlier = claim_by_hand(unfenced, 1, "0" * 32)
    assert (claims.holds(unfenced, mine), claims.holds(unfenced, earlier)) == (False, True)
    with pytest.raises(ClaimLost, match="another attempt that began in the same moment has taken over"):
        require(unfenced, mine)


def test_all_that_claimed_one_epoch_have_to_be_gone(unfenced: Folder) -> None:
    for token in ("1" * 32, "2" * 32):
        claim_by_hand(unfenced, 1, token)
    clock = FakeClock()
    assert take(unfenced, clock, lambda holder: holder["token"] == "1" * 32).epoch == 2
    assert clock.now >= LEASE_S
    clock = FakeClock()
    assert (take(unfenced, clock, lambda _: True).epoch, clock.now) == (3, 0.0)


def test_a_claim_that_another_one_joins_shows_life(unfenced: Folder) -> None:
    claim_by_hand(unfenced, 1, "1" * 32)
    with pytest.raises(RunRefused):
        take(unfenced, FakeClock(lambda now: claim_by_hand(unfenced, 1, "2" * 32) and None))


def test_a_lease_outlasts_the_longest_silence_of_a_living_holder() -> None:
    assert claims.BEAT_S + claims.POLL_S + SETTLE_S < LEASE_S / 2
