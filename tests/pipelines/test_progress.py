"""What workers report is read by the driver, whichever worker it was, and is nobody else's."""

from __future__ import annotations

import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pixelmill.pipelines import progress
from pixelmill.pipelines.progress import ProgressStore


class KeyValues:
    """Ray's internal key-value store as a dict: the four calls that are used of it."""

    def __init__(self) -> None:
        self.held: dict[bytes, bytes] = {}
        self.is_gone = False

    def _internal_kv_put(self, key: bytes, value: bytes, *, overwrite: bool) -> bool:
        """Whether the key was there."""
        if self.is_gone:
            raise RuntimeError("Ray is gone")
        there = key in self.held
        if overwrite or not there:
            self.held[key] = value
        return there

    def _internal_kv_get(self, key: bytes) -> bytes | None:
        return self.held.get(key)

    def _internal_kv_list(self, prefix: bytes) -> list[bytes]:
        return [key for key in self.held if key.startswith(prefix)]

    def _internal_kv_del(self, key: bytes, *, del_by_prefix: bool = False) -> None:
        for name in [each for each in self.held if each == key or (del_by_prefix and each.startswith(key))]:
            del self.held[name]


@pytest.fixture
def values(monkeypatch: pytest.MonkeyPatch) -> KeyValues:
    values = KeyValues()
    monkeypatch.setattr(progress, "STORE", values)
    return values


@pytest.mark.usefixtures("values")
def test_of_each_worker_the_last_report_counts() -> None:
    store = ProgressStore()
    first, second = store.reporter("tally"), store.reporter("tally")
    for text in ("1", "2"):
        first(text)
    second("3")
    store.reporter("phase")("milling")
    assert sorted(store.reports("tally")) == ["2", "3"]


def test_a_report_never_raises_and_a_fault_that_can_not_be_kept_does(values: KeyValues) -> None:
    store = ProgressStore()
    values.is_gone = True
    store.report("news", "x")
    store.reporter("tally")("x")
    with pytest.raises(RuntimeError, match="Ray is gone"):
        store.put("fault", "x")


@pytest.mark.usefixtures("values")
@given(st.lists(st.tuples(st.sampled_from("ab"), st.text(max_size=4), st.text(max_size=4)), max_size=12))
def test_two_runs_on_one_cluster_never_meet(puts: list[tuple[str, str, str]]) -> None:
    stores = {"a": ProgressStore("a"), "b": ProgressStore("b")}
    stores["a"].clear()
    stores["b"].clear()
    held: dict[str, dict[str, str]] = {"a": {}, "b": {}}
    for run, key, text in puts:
        stores[run].put(key, text)
        held[run][key] = text
    for run, store in stores.items():
        assert {key: store.get(key) for key in store.keys("")} == held[run]
    stores["a"].clear()
    assert not stores["a"].keys("")
    assert len(stores["b"].keys("")) == len(held["b"])


@pytest.mark.usefixtures("values")
def test_the_first_to_add_a_key_decides_and_a_store_travels_to_its_workers() -> None:
    store = ProgressStore()
    worker = pickle.loads(pickle.dumps(store))
    assert worker.add("order:1", "mine")
    assert not store.add("order:1", "other")
    assert store.get("order:1") == "mine"
    worker.remove("order:1")
    assert store.get("order:1") is None
