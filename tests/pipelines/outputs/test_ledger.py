"""The ledger: whatever was cut off, doing it again leaves every input in exactly one row."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pixelmill.pipelines.outputs import claims, ledger, repair
from pixelmill.pipelines.outputs.attempt import Attempt, pending
from pixelmill.pipelines.outputs.manifest import Part, Segment, input_id, read_segments
from pixelmill.pipelines.stores.folder import Folder
from pixelmill.workers.errors import RunRefused, StoreError
from tests.pipelines.outputs.by_hand import NAMES, Held, failed_uris, ids_of, list_again, publish, table


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


def test_a_part_that_exists_stays_as_it_is_whatever_another_attempt_makes_of_it(
    folder: Folder, segments: list[Segment]
) -> None:
    first = publish(folder, 0, NAMES[:3], failed=(NAMES[1],))
    kept = {name: folder.read(f"{name}/part-000000.parquet") for name in (ledger.DATA, ledger.FAILED)}
    again = publish(folder, 0, NAMES[:3], failed=(NAMES[0], NAMES[2]))
    assert again == first == ledger.Written(2, 1, len(kept[ledger.DATA] or b""))
    assert {name: folder.read(f"{name}/part-000000.parquet") for name in kept} == kept


def test_a_part_killed_before_its_failures_were_filed_is_done_and_they_are_filed_as_it_has_them(
    folder: Folder, segments: list[Segment], monkeypatch: pytest.MonkeyPatch
) -> None:
    original = Folder.create

    def dies_before_failures(self: Folder, name: str, data: bytes) -> bool:
        if name.startswith(ledger.FAILED):
            raise KeyboardInterrupt
        return original(self, name, data)

    monkeypatch.setattr(Folder, "create", dies_before_failures)
    with pytest.raises(KeyboardInterrupt):
        publish(folder, 0, NAMES[:3], failed=(NAMES[0], NAMES[1]))
    monkeypatch.undo()
    assert ledger.progress(folder).is_done(next(segments[0].parts()))
    publish(folder, 0, NAMES[:3], failed=(NAMES[2],))  # another attempt did the part too, and had other faults
    publish(folder, 1, NAMES[3:])
    assert failed_uris(folder) == [NAMES[0], NAMES[1]]
    found = ledger.account(folder, segments)
    assert (found.done, found.failed, found.is_exact) == (4, 2, True)


@pytest.mark.parametrize("failed", [(), (NAMES[2],)], ids=["without failures", "with another failure"])
def test_failures_that_lie_there_before_their_part_is_done_are_those_of_nobody(
    folder: Folder, segments: list[Segment], failed: tuple[str, ...]
) -> None:
    """Versions that wrote them first were killed then, or a data file was removed because it was cut."""
    publish(folder, 0, NAMES[:3], failed=(NAMES[0], NAMES[1]))
    folder.remove("data/part-000000.parquet")
    assert not ledger.progress(folder).is_done(next(segments[0].parts()))
    publish(folder, 0, NAMES[:3], failed=failed)
    publish(folder, 1, NAMES[3:])
    assert failed_uris(folder) == list(failed)
    assert ledger.account(folder, segments).is_exact


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


# Retry: a later part does once more what failed


def test_what_was_listed_again_stands_where_it_failed_until_it_is_done(folder: Folder, segments: list[Segment]) -> None:
    publish(folder, 0, NAMES[:3], failed=(NAMES[0], NAMES[1]))
    publish(folder, 1, NAMES[3:])
    again = list_again(folder, NAMES[:2])
    assert ledger.settle(folder, again) == 0
    found = ledger.account(folder, again)
    assert (found.listed, found.done, found.failed, found.is_exact) == (6, 4, 2, True)


def test_a_retry_moves_rows_from_failed_to_done(folder: Folder, segments: list[Segment]) -> None:
    publish(folder, 0, NAMES[:3], failed=(NAMES[0], NAMES[1]))
    publish(folder, 1, NAMES[3:], failed=(NAMES[5],))
    again = list_again(folder, NAMES[:2])
    publish(folder, 2, NAMES[:2], failed=(NAMES[1],), error_type="NotFound")
    assert ledger.settle(folder, again) == 2
    found = ledger.account(folder, again)
    assert (found.listed, found.done, found.failed, found.is_exact) == (6, 4, 2, True)
    assert found.reasons == {("decode", "NotFound"): 1, ("decode", "Corrupt"): 1}
    assert sorted(failed_uris(folder)) == [NAMES[1], NAMES[5]]
    assert ledger.settle(folder, again) == 0


def test_a_retry_killed_before_it_settled_does_not_add_up_until_the_next_run_settles_it(
    folder: Folder, segments: list[Segment]
) -> None:
    publish(folder, 0, NAMES[:3], failed=(NAMES[0], NAMES[1]))
    publish(folder, 1, NAMES[3:])
    again = list_again(folder, NAMES[:2])
    publish(folder, 2, NAMES[:2])
    assert not ledger.account(folder, again).is_exact
    assert ledger.settle(folder, again) == 2
    assert ledger.account(folder, again).is_exact


def test_of_two_retries_the_last_one_that_is_done_counts(folder: Folder, segments: list[Segment]) -> None:
    publish(folder, 0, NAMES[:3], failed=(NAMES[0],))
    publish(folder, 1, NAMES[3:])
    list_again(folder, NAMES[:1])
    publish(folder, 2, NAMES[:1], failed=(NAMES[0],), error_type="NotFound")
    again = list_again(folder, NAMES[:1])
    ledger.settle(folder, again)
    assert ledger.account(folder, again).reasons == {("decode", "NotFound"): 1}
    publish(folder, 3, NAMES[:1])
    ledger.settle(folder, again)
    found = ledger.account(folder, again)
    assert (found.listed, found.done, found.failed, found.is_exact) == (6, 6, 0, True)


# Kills at every step


class Killed(BaseException):
    """The process is gone."""


def live(folder: Folder, epoch: int) -> None:
    """What a run and a retry after it do: parts that are missing, then what failed; the second input fails for good."""
    attempt = Attempt(folder, Held(epoch), row_bytes=1, file_bytes=1 << 20)
    segments, _ = attempt.resume()
    for part in pending(segments, ledger.progress(folder), retry=False):
        names = [name for name in NAMES if input_id(name, None) in ids_of(folder, segments, part)]
        first = (NAMES[1],) if part.number > 1 else (NAMES[0], NAMES[1], NAMES[4])
        publish(folder, part.number, names, failed=first, error_type="NotFound" if part.number > 1 else "Corrupt")
    ledger.settle(folder, segments)
    segments = attempt.list_failed(segments, lambda rows: rows)
    for part in pending(segments, ledger.progress(folder), retry=True):
        names = [name for name in NAMES if input_id(name, None) in ids_of(folder, segments, part)]
        publish(folder, part.number, names, failed=(NAMES[1],), error_type="NotFound")
    ledger.settle(folder, segments)


@pytest.mark.parametrize("is_written", [False, True], ids=["before the write", "after the write"])
@pytest.mark.parametrize("step", range(11))
def test_after_a_kill_at_any_step_the_next_run_and_retry_leave_every_input_in_one_row(
    folder: Folder, segments: list[Segment], monkeypatch: pytest.MonkeyPatch, step: int, is_written: bool
) -> None:
    steps = iter(range(100))

    def dying(original: Callable[..., object]) -> Callable[..., object]:
        def write(*arguments: object) -> object:
            number = next(steps)
            written = original(*arguments) if number != step or is_written else None
            if number == step:
                raise Killed
            return written

        return write

    for name in ("publish", "create", "replace"):
        monkeypatch.setattr(Folder, name, dying(getattr(Folder, name)))
    try:
        live(folder, 1)
        assert step == 10, "the life of a run and a retry has fewer steps than are tried"
    except Killed:
        pass
    monkeypatch.undo()
    live(folder, 2)
    found = ledger.account(folder, read_segments(folder))
    assert found.is_exact
    assert (found.done, found.failed) == (5, 1)
    assert found.reasons == {("decode", "NotFound"): 1}


# What versions before claims left


def publish_as_before(folder: Folder, name: str, names: list[str], failed: tuple[str, ...] = ()) -> None:
    """Failures first and in a file of their own only; then the data file, which says nothing of them."""
    made = table(names, failed)
    bad, good = (made.filter(pa.array([(uri in failed) is which for uri in names])) for which in (True, False))
    if failed:
        folder.publish(f"failed/{name}.parquet", ledger.encode(bad.select(ledger.FAILED_SCHEMA.names)))
    facts = {ledger.METADATA_KEY: json.dumps({"weights": {}})}
    rows = good.drop_columns(list(ledger.ERROR_COLUMNS)).replace_schema_metadata(facts)
    folder.publish(f"data/{name}.parquet", ledger.encode(rows))


@pytest.fixture
def old(folder: Folder, segments: list[Segment]) -> list[Segment]:
    """A run of an earlier version: two inputs failed, and a retry that was killed did one of them once more."""
    written = json.loads(segments[0].to_json())
    kept = {key: value for key, value in written.items() if key not in {"writer", "supersedes"}}
    folder.publish("_run/manifest/000000.json", json.dumps(kept).encode())
    folder.publish("_run/attempts/0001.json", json.dumps({"attempt": 1, "ended": "complete"}).encode())
    publish_as_before(folder, "part-000000", NAMES[:3], failed=(NAMES[0], NAMES[1]))
    publish_as_before(folder, "part-r001-000000", NAMES[:1])
    return read_segments(folder)


def test_an_old_output_is_read_as_it_was(folder: Folder, old: list[Segment], segments: list[Segment]) -> None:
    assert old == segments
    assert ledger.progress(folder).old_retries == ["part-r001-000000.parquet"]
    assert claims.standing(folder).epoch == 1
    assert claims.standing(folder).has_ended
    found = ledger.account(folder, old)
    assert (found.listed, found.missing, found.twice) == (6, 3, 1)  # the retry was killed before it settled


def test_an_old_output_is_settled_resumed_and_accounted_for(folder: Folder, old: list[Segment]) -> None:
    held = ledger.progress(folder)
    assert [part.number for part in pending(old, held, retry=False)] == [1]
    publish(folder, 1, NAMES[3:], failed=(NAMES[4],))
    ledger.settle(folder, old)
    found = ledger.account(folder, old)
    assert (found.listed, found.done, found.failed, found.is_exact) == (6, 4, 2, True)


def test_an_old_output_that_was_cut_off_is_put_right_and_keeps_what_failed(folder: Folder, old: list[Segment]) -> None:
    found = repair.repair(folder, old, lambda: None)
    assert (found.dropped, found.lost) == (0, {})
    assert failed_uris(folder) == [NAMES[1]]
    assert repair.repair(folder, old, lambda: None).rows == 0


def test_what_failed_in_an_old_output_is_retried_as_a_later_part(folder: Folder, old: list[Segment]) -> None:
    publish_as_before(folder, "part-000001", NAMES[3:])
    attempt = Attempt(folder, Held(2), row_bytes=1, file_bytes=1 << 20)
    ledger.settle(folder, old)
    segments = attempt.list_failed(attempt.resume()[0], lambda rows: rows)
    (part,) = pending(segments, ledger.progress(folder), retry=True)
    assert ids_of(folder, segments, part) == [input_id(NAMES[1], None)]
    publish(folder, part.number, [NAMES[1]])
    ledger.settle(folder, segments)
    found = ledger.account(folder, segments)
    assert (found.listed, found.done, found.failed, found.is_exact) == (6, 6, 0, True)


# What is in the files


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
