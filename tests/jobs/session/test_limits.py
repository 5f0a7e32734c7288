"""What ends an attempt before its work is done."""

from __future__ import annotations

import json
import threading
from pathlib import Path

import pytest

from pixelmill.jobs.session import holding as holding_module
from pixelmill.jobs.session import limits as module
from pixelmill.jobs.session.holding import holding
from pixelmill.jobs.session.limits import Allowance, LimitWatch
from pixelmill.pipelines.outputs.claims import Claim
from pixelmill.pipelines.stores.access import Access
from pixelmill.pipelines.stores.folder import Folder
from pixelmill.workers.errors import StopRequested
from tests.waiting import comes


@pytest.fixture
def out(tmp_path: Path) -> Folder:
    return Folder(str(tmp_path / "out"), Access())


@pytest.fixture(autouse=True)
def in_a_hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(holding_module, "BEAT_S", 0.05)
    monkeypatch.setattr(module, "METER_EVERY_S", 0.01)


def raises_within(held: holding_module.Holding) -> str:
    def has_raised() -> bool:
        try:
            held.raise_if_over()
        except StopRequested:
            return True
        return False

    assert comes(has_raised)
    with pytest.raises(StopRequested) as raised:
        held.raise_if_over()
    return str(raised.value)


def test_a_holder_ends_when_its_folder_asks_for_it_and_says_how_to_resume(out: Folder) -> None:
    with holding(out, "run", lambda: 0.0, lambda _: None) as held:
        held.raise_if_over()
        out.create(f"{held.claim.folder}/stop.json", b"{}")
        said = raises_within(held)
    assert "pixelmill stop" in said
    assert f"pixelmill resume {out.uri}" in said


def test_a_request_to_an_earlier_attempt_does_not_stop_a_later_one(out: Folder) -> None:
    out.create("_run/attempts/0001/stop.json", b"{}")
    out.create("_run/attempts/0001/record.json", b"{}")
    with holding(out, "run", lambda: 0.0, lambda _: None) as held:
        assert held.claim.epoch == 2
        assert comes(lambda: b'"beat": 3' in (out.read("_run/attempts/0002/beat.json") or b""))
        held.raise_if_over()


def test_a_deadline_ends_the_attempt(out: Folder) -> None:
    with holding(out, "run", lambda: 0.0, lambda _: None, LimitWatch(Allowance(seconds=0.2))) as held:
        assert "run.deadline" in raises_within(held)


def test_the_cost_of_every_node_and_of_all_attempts_counts_against_the_budget(out: Folder) -> None:
    hour_s = 3600
    out.publish("_run/attempts/0001/beat.json", json.dumps({"beat": 9, "node_s": 5 * hour_s}).encode())
    out.publish("_run/attempts/0002/beat.json", json.dumps({"beat": 9, "node_s": 4 * hour_s}).encode())
    within, beyond = (
        LimitWatch(Allowance(max_cost=20.0, node_hour_price=2.0)),
        LimitWatch(Allowance(max_cost=17.0, node_hour_price=2.0)),
    )
    for limits in (within, beyond):
        limits.begin(out, Claim(3, "a", True))
        limits.look(out, Claim(3, "a", True))
        limits.end()
    assert within.why is None
    assert beyond.why is not None
    assert "18.00 of 17.00 (run.max_cost)" in beyond.why


def test_nodes_are_counted_while_the_attempt_lasts_and_a_cluster_that_hangs_holds_nothing_up(out: Folder) -> None:
    limits = LimitWatch(Allowance(), count_nodes=lambda: 1000)
    limits.begin(out, Claim(1, "a", True))
    assert comes(lambda: limits.node_s > 50)  # a twentieth of a second of a thousand nodes
    limits.end()
    hanging = LimitWatch(Allowance(), count_nodes=lambda: int(threading.Event().wait(60)))
    hanging.begin(out, Claim(1, "a", True))
    assert hanging.node_s < 10
    hanging.end()


def test_the_nodes_of_the_newest_attempt_are_those_of_its_last_beat_until_it_ends(out: Folder) -> None:
    assert module.nodes_of_the_newest(out) == 0
    with holding(out, "run", lambda: 0.0, lambda _: None, LimitWatch(Allowance(), count_nodes=lambda: 7)) as held:
        assert comes(lambda: module.nodes_of_the_newest(out) == 7)
        assert held.claim.epoch == 1
    assert module.nodes_of_the_newest(out) == 0
