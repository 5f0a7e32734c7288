"""The ledger: whatever was cut off, doing it again leaves every input in exactly one row."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines import ledger
from pipelines.manifest import SCHEMA, Listing, Part, Segment, input_id, read_segments
from pipelines.stores import Access, Folder
from workers.errors import RunRefused, StoreError

VECTOR = pa.list_(pa.float32(), 4)
NAMES = [f"/p/{n}.jpg" for n in range(6)]


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(str(tmp_path), Access(retry_for_s=0))


@pytest.fixture
def segments(folder: Folder) -> list[Segment]:
    """A manifest of six inputs in two parts of three."""
    rows = [{"id": input_id(name, None), "uri": name} for name in NAMES]
    listing = Listing(folder, 0)
    listing.write([pa.Table.from_pylist(rows, SCHEMA)])
    listing.commit([3, 3], 0)
    return read_segments(folder)


def table(names: list[str], failed: tuple[str, ...] = ()) -> pa.Table:
    """What a worker makes of these inputs."""
    fields = [
        *ledger.INPUT_FIELDS,
        pa.field("embedding", VECTOR),
        *(pa.field(n, pa.string()) for n in ledger.ERROR_COLUMNS),
    ]
    rows = [
        {"id": input_id(name, None), "uri": name}
        | (
            {"stage": "decode", "error_type": "Corrupt", "error": "broken"}
            if name in failed
            else {"embedding": [1.0] * 4}
        )
        for name in names
    ]
    return pa.Table.from_pylist(rows, pa.schema(fields))


def publish(folder: Folder, part: int, names: list[str], failed: tuple[str, ...] = ()) -> None:
    ledger.publish(folder, f"part-{part:06d}", table(names, failed), {"weights": {}}, ledger.Compression())


def test_every_input_is_done_or_failed(folder: Folder, segments: list[Segment]) -> None:
    publish(folder, 0, NAMES[:3], failed=(NAMES[1],))
    publish(folder, 1, NAMES[3:])
    found = ledger.account(folder, segments)
    assert (found.listed, found.done, found.failed) == (6, 5, 1)
    assert found.is_exact
    assert found.reasons == {("decode", "Corrupt"): 1}


def test_publishing_twice_is_publishing_once(folder: Folder, segments: list[Segment]) -> None:
    for _ in range(2):
        publish(folder, 0, NAMES[:3], failed=(NAMES[1],))
    publish(folder, 1, NAMES[3:])
    assert ledger.account(folder, segments).is_exact


def test_a_part_that_is_missing_is_pending_and_missed(folder: Folder, segments: list[Segment]) -> None:
    publish(folder, 0, NAMES[:3])
    held = ledger.progress(folder)
    assert [held.is_done(part) for part in segments[0].parts()] == [True, False]
    assert ledger.account(folder, segments).missing == 3


def test_a_part_killed_after_its_failures_is_not_done_and_can_be_done_with_other_failures(
    folder: Folder, segments: list[Segment], monkeypatch: pytest.MonkeyPatch
) -> None:
    original = Folder.publish

    def dies_before_data(self: Folder, name: str, data: bytes) -> None:
        if name.startswith(ledger.DATA):
            raise KeyboardInterrupt
        original(self, name, data)

    monkeypatch.setattr(Folder, "publish", dies_before_data)
    with pytest.raises(KeyboardInterrupt):
        publish(folder, 0, NAMES[:3], failed=(NAMES[0], NAMES[1]))
    monkeypatch.undo()
    part = next(segments[0].parts())
    assert not ledger.progress(folder).is_done(part)
    publish(folder, 0, NAMES[:3])  # a passing fault: this time nothing fails
    publish(folder, 1, NAMES[3:])
    found = ledger.account(folder, segments)
    assert found.is_exact
    assert found.failed == 0


@pytest.mark.parametrize(
    ("tamper", "law"),
    [
        (lambda t: t.slice(1), "missing"),
        (lambda t: pa.concat_tables([t, t.slice(0, 1)]), "twice"),
        (lambda t: pa.concat_tables([t, table(["/p/alien.jpg"])]), "unknown"),
    ],
)
def test_an_output_that_was_tampered_with_does_not_add_up(
    folder: Folder, segments: list[Segment], tamper: object, law: str
) -> None:
    ledger.publish(folder, "part-000000", tamper(table(NAMES[:3])), {}, ledger.Compression())  # type: ignore[operator]
    publish(folder, 1, NAMES[3:])
    found = ledger.account(folder, segments)
    assert getattr(found, law) == 1
    assert not found.is_exact


def retried(folder: Folder, names: list[str]) -> None:
    ledger.publish(folder, "part-r001-000000", table(names), {}, ledger.Compression())


def test_a_retry_moves_rows_from_failed_to_done(folder: Folder, segments: list[Segment]) -> None:
    publish(folder, 0, NAMES[:3], failed=(NAMES[0], NAMES[1]))
    publish(folder, 1, NAMES[3:])
    retried(folder, [NAMES[0]])
    again = {input_id(NAMES[1], None): ("fetch", "NotFound", "gone")}
    ledger.settle(folder, frozenset({input_id(NAMES[0], None)}), again)
    found = ledger.account(folder, segments)
    assert (found.done, found.failed, found.is_exact) == (5, 1, True)
    assert found.reasons == {("fetch", "NotFound"): 1}


def test_a_retry_killed_before_it_settled_is_settled_by_the_next_run(folder: Folder, segments: list[Segment]) -> None:
    publish(folder, 0, NAMES[:3], failed=(NAMES[0], NAMES[1]))
    publish(folder, 1, NAMES[3:])
    retried(folder, [NAMES[0]])
    assert ledger.account(folder, segments).twice == 1
    assert ledger.reconcile(folder) == 1
    assert ledger.reconcile(folder) == 0
    assert ledger.account(folder, segments).is_exact


# Kills at every step


class Killed(BaseException):
    """The process is gone."""


def live(folder: Folder, segments: list[Segment]) -> None:
    """What a run and a retry after it do: parts that are missing, then what failed; the middle one fails for good."""
    ledger.reconcile(folder)
    held = ledger.progress(folder)
    for part in segments[0].parts():
        if not held.is_done(part):
            names = NAMES[part.start : part.start + part.rows]
            publish(folder, part.number, names, failed=(NAMES[0], NAMES[1], NAMES[4]))
    failed = [uri for _, rows in ledger.failures(folder) for uri in rows["uri"].to_pylist()]
    number = len(ledger.progress(folder).retries)
    for name in failed:
        if name != NAMES[1]:
            retry = f"part-r{number:03d}-{NAMES.index(name):06d}"
            ledger.publish(folder, retry, table([name]), {}, ledger.Compression())
    finished = frozenset(input_id(name, None) for name in failed if name != NAMES[1])
    ledger.settle(folder, finished, {input_id(NAMES[1], None): ("fetch", "NotFound", "gone")})


@pytest.mark.parametrize("is_written", [False, True], ids=["before the write", "after the write"])
@pytest.mark.parametrize("step", range(9))
def test_after_a_kill_at_any_step_the_next_run_and_retry_leave_every_input_in_one_row(
    folder: Folder, segments: list[Segment], monkeypatch: pytest.MonkeyPatch, step: int, is_written: bool
) -> None:
    original, steps = Folder.publish, iter(range(100))

    def dies(self: Folder, name: str, data: bytes) -> None:
        number = next(steps)
        if number != step or is_written:
            original(self, name, data)
        if number == step:
            raise Killed

    monkeypatch.setattr(Folder, "publish", dies)
    try:
        live(folder, segments)
        assert step == 8, "the life of a run and a retry has fewer steps than are tried"
    except Killed:
        pass
    monkeypatch.undo()
    live(folder, segments)
    found = ledger.account(folder, segments)
    assert found.is_exact
    assert (found.done, found.failed) == (5, 1)
    assert found.reasons == {("fetch", "NotFound"): 1}


def test_rows_under_a_name_that_no_part_has_are_counted_as_unknown(folder: Folder, segments: list[Segment]) -> None:
    publish(folder, 0, NAMES[:3])
    publish(folder, 1, NAMES[3:])
    publish(folder, 7, NAMES[:2])
    assert ledger.account(folder, segments).unknown == 2
    folder.remove("data/part-000007.parquet")
    folder.publish("failed/other.parquet", ledger.encode(pa.table({"x": [1, 2, 3]})))
    assert ledger.account(folder, segments).unknown == 3
    folder.remove("failed/other.parquet")
    folder.publish("data/README.txt", b"no reader of Parquet looks at this")
    assert ledger.account(folder, segments).is_exact


def test_a_data_file_that_was_cut_is_named_with_what_to_do(folder: Folder, segments: list[Segment]) -> None:
    publish(folder, 0, NAMES[:3])
    publish(folder, 1, NAMES[3:])
    folder.publish("data/part-000001.parquet", (folder.read("data/part-000001.parquet") or b"")[:-9])
    with pytest.raises(StoreError, match=r"data/part-000001.parquet: is not a whole Parquet file .* remove it and run"):
        ledger.account(folder, segments)


def test_another_job_is_refused_with_every_difference(folder: Folder, segments: list[Segment]) -> None:
    stored = {"source": {"uri": ["a"]}, "stages": [{"embed": {"model": "x", "layer": None}}]}
    wanted = {"source": {"uri": ["b"]}, "stages": [{"embed": {"model": "y", "layer": None}}]}
    with pytest.raises(RunRefused) as raised:
        ledger.require_same(stored, wanted, folder)  # type: ignore[arg-type]
    assert "source.uri.0: 'a' there, 'b' here" in str(raised.value)
    assert "stages.0.embed.model: 'x' there, 'y' here" in str(raised.value)
    assert "layer" not in str(raised.value)
    assert "can be deleted" in str(raised.value)
    ledger.require_same(stored, stored, folder)  # type: ignore[arg-type]
    publish(folder, 0, NAMES[:3])
    with pytest.raises(RunRefused) as raised:
        ledger.require_same(stored, wanted, folder)  # type: ignore[arg-type]
    assert "delete" not in str(raised.value)


@pytest.mark.parametrize("kind", [pa.float32(), pa.float16()])
@pytest.mark.parametrize("codec", ["zstd", "snappy", "none"])
def test_vectors_come_back_bit_for_bit(tmp_path: Path, kind: pa.DataType, codec: str) -> None:
    values = np.random.default_rng(0).normal(size=64).astype(kind.to_pandas_dtype())
    vectors = pa.FixedSizeListArray.from_arrays(pa.array(values, kind), 8)
    path = tmp_path / "x.parquet"
    path.write_bytes(ledger.encode(pa.table({"id": list("abcdefgh"), "embedding": vectors}), ledger.Compression(codec)))
    back = pq.read_table(path)
    assert back["embedding"].type == pa.list_(pa.field("element", kind), 8) or back["embedding"].type == vectors.type
    assert np.array_equal(back["embedding"].combine_chunks().flatten().to_numpy(zero_copy_only=False), values)


@pytest.mark.parametrize("kind", [pa.float32(), pa.float16()])
def test_readers_that_know_nothing_of_us_read_the_vectors(
    tmp_path: Path, kind: pa.DataType, monkeypatch: pytest.MonkeyPatch
) -> None:
    import duckdb
    import polars

    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "cache"))
    from datasets import Dataset

    values_BD = np.random.default_rng(0).normal(size=(3000, 8)).astype(kind.to_pandas_dtype())
    vectors = pa.FixedSizeListArray.from_arrays(pa.array(values_BD.ravel(), kind), 8)
    path = tmp_path / "x.parquet"
    path.write_bytes(ledger.encode(pa.table({"id": [f"{n:032x}" for n in range(3000)], "embedding": vectors})))
    by_duckdb = [row[0] for row in duckdb.sql(f"select embedding from '{path}'").fetchall()]
    by_polars = polars.read_parquet(path)["embedding"].to_list()
    by_datasets = Dataset.from_parquet(str(path), cache_dir=str(tmp_path / "cache"))["embedding"][:]
    for read in (by_duckdb, by_polars, by_datasets):
        assert np.array_equal(np.array(read, values_BD.dtype), values_BD)


def test_a_data_file_says_how_it_was_made(folder: Folder) -> None:
    ledger.publish(folder, "part-000000", table(NAMES[:3]), {"weights": {"0.embed": "abc"}}, ledger.Compression())
    assert ledger.provenance_of(folder, "part-000000.parquet") == {"weights": {"0.embed": "abc"}}


def test_part_names_follow_from_numbers_alone() -> None:
    assert Part(17, 3, 100, 5).name == "part-000017"
