"""The driver reads what its workers report: their sum, their phases, and each death once."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from pixelmill.pipelines.bulk.deaths import Deaths, Start
from pixelmill.pipelines.bulk.mill import Tally
from pixelmill.pipelines.bulk.reports import PHASE, TALLY, BulkReports


class Texts:
    """The store of a run, as a dict."""

    def __init__(self) -> None:
        self.held: dict[str, str] = {}

    def add(self, key: str, value: str) -> bool:
        return self.held.setdefault(key, value) is value

    def get(self, key: str) -> str | None:
        return self.held.get(key)

    def put(self, key: str, value: str) -> None:
        self.held[key] = value

    def remove(self, key: str) -> None:
        self.held.pop(key, None)

    def keys(self, prefix: str) -> list[str]:
        return [key for key in self.held if key.startswith(prefix)]

    def reports(self, kind: str) -> list[str]:
        return [text for key, text in self.held.items() if key.startswith(f"{kind}:")]

    def clear(self) -> None:
        self.held.clear()


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), max_size=6))
def test_the_tally_is_the_sum_over_the_workers(counts: list[tuple[int, int]]) -> None:
    texts = Texts()
    for number, (done, failed) in enumerate(counts):
        reason = ("decode", "Truncated")
        reasons = Counter({reason: failed} if failed else {})
        texts.put(f"{TALLY}:{number}", Tally(done, failed, reasons, {reason: "a.jpg"} if failed else {}).to_json())
    total = BulkReports(texts).tally()
    assert (total.done, total.failed) == (sum(done for done, _ in counts), sum(failed for _, failed in counts))
    assert total.reasons["decode", "Truncated"] == total.failed


def test_phases_are_counted_by_worker() -> None:
    texts = Texts()
    for number, phase in enumerate(["milling", "importing torch", "milling"]):
        texts.put(f"{PHASE}:{number}", phase)
    assert BulkReports(texts).phases() == {"milling": 2, "importing torch": 1}


def test_a_death_is_heard_once_and_a_start_until_its_worker_begins() -> None:
    texts = Texts()
    reports = BulkReports(texts)
    start = Start(texts)
    assert reports.starts() == 1
    start.succeeded()
    assert reports.starts() == 0
    Deaths(texts, 600).begin("part-000001")
    Deaths(texts, 600).begin("part-000001")  # its first worker is gone
    (event,) = reports.events()
    assert (event.kind, "part-000001" in event.text) == ("death", True)
    assert reports.events() == []
