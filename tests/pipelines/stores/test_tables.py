"""The laws of opening tables: nothing in a Parquet file is executed, and a small file takes little memory."""

from __future__ import annotations

import io
import itertools
import os
import pickle
import resource
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import ray.data  # registers the extension types whose values are unpickled  # noqa: F401  # pyright: ignore[reportUnusedImport]

from pixelmill.jobs import inspect
from pixelmill.pipelines.inputs.fetch import Fetcher, FetchLimits, single
from pixelmill.pipelines.inputs.manifest_rows import table_of
from pixelmill.pipelines.inputs.sources import Ignored, Source, entries
from pixelmill.pipelines.outputs.columns import DATA, FAILED, FAILED_SCHEMA
from pixelmill.pipelines.outputs.contents import failures, progress, provenance_of
from pixelmill.pipelines.stores.access import Access
from pixelmill.pipelines.stores.folder import Folder
from pixelmill.pipelines.stores.tables import cells_of, declared_schema, first_rows, integers_of, open_parquet, texts_of
from pixelmill.pipelines.training.layouts.registry import find, layout_of
from pixelmill.workers.errors import DataError, JobError, RowError

ACCESS = Access(retry_for_s=0.0)


class Payload:
    """Makes a folder when it is unpickled."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Any, ...]:
        return os.makedirs, (str(self.marker), 0o777, True)


@pytest.fixture
def marker(tmp_path: Path) -> Iterator[Path]:
    """A place at which nothing may be when a test is over."""
    marker = tmp_path / "executed"
    yield marker
    assert not marker.exists()


def pickled(marker: Path, rows: int = 3) -> pa.Array:
    """Values that run code when they are looked at, of the type that Ray registers."""
    from ray.data._internal.object_extensions.arrow import ArrowPythonObjectType

    kind = ArrowPythonObjectType()
    return pa.ExtensionArray.from_storage(kind, pa.array([pickle.dumps(Payload(marker))] * rows, kind.storage_type))


def tensors(marker: Path) -> pa.Array:
    """Tensors of any shape, as Ray writes them, whose parameters could be a pickle."""
    from ray.data._internal.tensor_extensions.arrow import ArrowVariableShapedTensorType

    kind = ArrowVariableShapedTensorType(pa.int64(), 1)
    rows: list[Any] = [{"data": [1, 2], "shape": [2]}] * 3
    return pa.ExtensionArray.from_storage(kind, pa.array(rows, kind.storage_type))


OFFSETS = pa.array([0, 1, 2, 3], pa.int32())
WRAPPERS: dict[str, Callable[[pa.Array], pa.Array]] = {
    "bare": lambda values: values,
    "struct": lambda values: pa.StructArray.from_arrays([pa.array([b"x"] * 3), values], ["bytes", "path"]),
    "list": lambda values: pa.ListArray.from_arrays(OFFSETS, values),
    "large_list": lambda values: pa.LargeListArray.from_arrays(OFFSETS.cast(pa.int64()), values),
    "fixed_size_list": lambda values: pa.FixedSizeListArray.from_arrays(values, 1),
    "map": lambda values: pa.MapArray.from_arrays(OFFSETS, pa.array(["a", "b", "c"]), values),
}


def extensions_in(kind: pa.DataType) -> list[pa.DataType]:
    inner = [kind.field(i).type for i in range(kind.num_fields)]
    here = [kind] if isinstance(kind, pa.BaseExtensionType) else []
    return here + [found for each in inner for found in extensions_in(each)]


def written(path: Path, columns: dict[str, Any], **options: Any) -> Path:
    pq.write_table(pa.table(columns), path, **options)
    return path


def test_the_payload_runs_where_arrow_reads_it_alone(tmp_path: Path) -> None:
    path = written(tmp_path / "a.parquet", {"uri": pickled(tmp_path / "executed")})
    pq.read_table(path)["uri"].to_pylist()
    assert (tmp_path / "executed").exists()


@pytest.mark.parametrize("values", [pickled, tensors])
@pytest.mark.parametrize(("outer", "inner"), [*itertools.product(WRAPPERS, WRAPPERS)])
def test_types_that_run_code_are_storage_at_any_depth(
    tmp_path: Path, marker: Path, values: Callable[[Path], pa.Array], outer: str, inner: str
) -> None:
    column = WRAPPERS[outer](WRAPPERS[inner](values(marker)))
    path = written(tmp_path / "a.parquet", {"column": column})
    with path.open("rb") as file, open_parquet(file) as parquet:
        table = parquet.read()
        assert not extensions_in(parquet.schema_arrow.field("column").type)
        assert not extensions_in(declared_schema(parquet).field("column").type)
        assert len(table.to_pylist()) == len(first_rows(parquet, 9)) == 3


def test_a_registered_type_is_never_built_from_the_metadata_of_a_file(tmp_path: Path) -> None:
    built = []

    class Watched(pa.ExtensionType):
        def __init__(self) -> None:
            super().__init__(pa.binary(), "pixelmill.test.watched")

        def __arrow_ext_serialize__(self) -> bytes:
            return b"parameters"

        @classmethod
        def __arrow_ext_deserialize__(cls, storage_type: pa.DataType, serialized: bytes) -> Watched:
            built.append(serialized)
            return cls()

    column = pa.ExtensionArray.from_storage(Watched(), pa.array([b"x"]))
    path = written(tmp_path / "a.parquet", {"image": column})
    pa.register_extension_type(Watched())
    try:
        with path.open("rb") as file, open_parquet(file) as parquet:
            assert parquet.read().schema.field("image").type == pa.binary()
            assert declared_schema(parquet).field("image").type == pa.binary()
        assert not built
        pq.read_schema(path)
        assert built
    finally:
        pa.unregister_extension_type("pixelmill.test.watched")


# ------------------------------------------------------------------------------------------- everything that opens one


def rows_of(path: Path) -> list[bytes | str]:
    found = list(entries(Source((str(path),), access=ACCESS), Ignored()))
    stream = Fetcher(ACCESS, FetchLimits(), None, then=single).stream(table_of(found))
    return [data.error_type if isinstance(data, RowError) else data for data in stream]


def test_listing_and_fetching_run_nothing(tmp_path: Path, marker: Path) -> None:
    path = written(tmp_path / "a.parquet", {"image": WRAPPERS["struct"](pickled(marker)), "caption": pickled(marker)})
    assert rows_of(path) == [b"x"] * 3


def test_pictures_of_a_type_that_runs_code_are_the_bytes_that_are_stored(tmp_path: Path, marker: Path) -> None:
    assert rows_of(written(tmp_path / "a.parquet", {"image": pickled(marker)})) == [pickle.dumps(Payload(marker))] * 3


def test_a_list_whose_uris_run_code_is_refused_by_name(tmp_path: Path, marker: Path) -> None:
    path = written(tmp_path / "a.parquet", {"uri": pickled(marker)})
    with pytest.raises(JobError, match=r"a.parquet: column uri holds binary, not text"):
        list(entries(Source((str(path),), "list", access=ACCESS), Ignored()))


def test_labels_that_run_code_are_refused_by_name(tmp_path: Path, marker: Path) -> None:
    path = written(tmp_path / "a.parquet", {"image": [b"x"] * 3, "label": pickled(marker)})
    with pytest.raises(DataError, match=r"column label holds binary, not integers"):
        find(layout_of("classes").ROLES, [str(path)], ACCESS)
    assert find(layout_of("pictures").ROLES, [str(path)], ACCESS).labels is None


def test_an_output_that_somebody_made_runs_nothing_when_it_is_inspected_or_read_again(
    tmp_path: Path, marker: Path
) -> None:
    out = Folder(str(tmp_path / "out"), ACCESS)
    for folder in (DATA, FAILED):
        (tmp_path / "out" / folder).mkdir(parents=True)
    reasons = {name: ["x"] * 3 for name in FAILED_SCHEMA.names}
    written(tmp_path / "out/data/part-000000.parquet", {"id": pickled(marker), "embedding": pickled(marker)})
    written(tmp_path / "out/failed/part-000000.parquet", reasons | {"error": pickled(marker)})
    held = progress(out)
    assert inspect._schema(out, held) == {"id": "binary", "embedding": "binary"}
    assert len(inspect._rows(out, held, 5)) == 3
    assert [len(table.to_pylist()) for _, table in failures(out)] == [3]
    assert provenance_of(out, "part-000000.parquet") == {}


# ------------------------------------------------------------------------------------------------------ what is kept


def test_types_of_our_own_files_are_shown_as_they_were_written(tmp_path: Path) -> None:
    column = pa.FixedSizeListArray.from_arrays(pa.array([1.0, 2.0], pa.float32()), 2)
    with written(tmp_path / "a.parquet", {"embedding": column}).open("rb") as file:
        assert declared_schema(open_parquet(file)).field("embedding").type == column.type


@pytest.mark.parametrize(
    "kind", [pa.binary(), pa.large_binary(), pa.binary_view(), pa.dictionary(pa.int32(), pa.binary())]
)
@pytest.mark.parametrize("is_struct", [False, True])
def test_bytes_are_read_however_arrow_calls_them(tmp_path: Path, kind: pa.DataType, is_struct: bool) -> None:
    values = pa.array([b"a", None, b"", b"a"]).cast(kind)
    paths = pa.array(["p"] * 4)
    column = pa.StructArray.from_arrays([values, paths], ["bytes", "path"]) if is_struct else values
    assert rows_of(written(tmp_path / "a.parquet", {"n": [1] * 4, "image": column})) == [b"a", "Empty", b"", b"a"]


@pytest.mark.parametrize("damage", [b"", b"PAR1", b"PAR1" * 3, b"x" * 50, b"\xff\xff\xff\x7fPAR1", bytes(4) + b"PAR1"])
def test_a_file_that_is_not_parquet_is_refused(damage: bytes) -> None:
    with pytest.raises((pa.ArrowInvalid, OSError)):
        open_parquet(io.BytesIO(damage))


# -------------------------------------------------------------------------------------------------------------- memory


def test_a_footer_that_states_more_rows_than_the_file_can_hold_is_refused() -> None:
    sink = io.BytesIO()
    options: dict[str, Any] = {"row_group_size": 20_000_000, "max_rows_per_page": 20_000_000}
    pq.write_table(pa.table({"label": pa.repeat(7, 20_000_000)}), sink, **options)
    with pytest.raises(pa.ArrowInvalid, match=r"20,000,000 rows, more than [\d,]+ bytes can hold"):
        open_parquet(sink)


def test_a_small_file_of_one_large_value_that_every_row_names_is_read_row_by_row(tmp_path: Path) -> None:
    """A file of a few kilobytes that stands for 40 GB, in a process that may not have a hundredth of that."""
    rows, value = 4000, b"x" * (10 << 20)
    column = pa.DictionaryArray.from_arrays(pa.repeat(pa.scalar(0, pa.int32()), rows), pa.array([value]))
    struct = pa.StructArray.from_arrays([column, pa.array(["p"] * rows)], ["bytes", "path"])
    path = written(tmp_path / "a.parquet", {"image": struct}, compression="zstd")
    assert path.stat().st_size < 20_000
    code = f"""
import resource, sys
from pixelmill.pipelines.inputs.fetch import Fetcher, FetchLimits, single
from pixelmill.pipelines.inputs.manifest_rows import table_of
from pixelmill.pipelines.inputs.sources import Ignored, Source, entries
from pixelmill.pipelines.stores.access import Access
found = list(entries(Source(({str(path)!r},)), Ignored()))
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
resource.setrlimit(resource.RLIMIT_AS, (4 << 30, 4 << 30))
limits = FetchLimits(in_flight=4, max_bytes=16 << 20)
sizes = [*Fetcher(Access(), limits, None, lambda f: len(single(f))).stream(table_of(found[:64]))]
assert set(sizes) == {{{len(value)}}}, sizes
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before >> 10)
"""
    root = Path(__file__).parents[3]
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True)
    assert int(done.stdout) < 400  # MB; the row group is 40,000


def test_a_list_whose_rows_share_one_long_text_holds_it_once(tmp_path: Path) -> None:
    rows, text = 200_000, "a" * 100_000
    column = pa.DictionaryArray.from_arrays(pa.repeat(pa.scalar(0, pa.int32()), rows), pa.array([text]))
    with written(tmp_path / "a.parquet", {"uri": column}).open("rb") as file:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        assert sum(len(found or "") for found in texts_of(file, "uri")) == rows * len(text)
        assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 300 << 10


def test_texts_keep_their_nulls_and_their_order(tmp_path: Path) -> None:
    texts = [None if n % 7 == 3 else f"{n % 50}.jpg" for n in range(5000)]
    for use_dictionary in (True, False):
        path = written(tmp_path / "a.parquet", {"uri": texts}, use_dictionary=use_dictionary, row_group_size=1500)
        with path.open("rb") as file:
            assert list(texts_of(file, "uri")) == texts


def test_integers_of_every_width_are_read(tmp_path: Path) -> None:
    for kind in (pa.int8(), pa.uint16(), pa.int64()):
        path = written(tmp_path / "a.parquet", {"label": pa.array([1, None, 3], kind)})
        with path.open("rb") as file, open_parquet(file) as parquet:
            column = integers_of(parquet, "label")
            assert (column.type, column.to_pylist()) == (kind, [1, None, 3])


def test_of_a_struct_only_bytes_and_path_are_read(tmp_path: Path) -> None:
    names, arrays = ["bytes", "path", "mask"], [pa.array([b"x"]), pa.array(["p"]), pa.array([b"m"])]
    path = written(tmp_path / "a.parquet", {"image": pa.StructArray.from_arrays(arrays, names)})
    data = path.read_bytes()
    start = pq.read_metadata(path).row_group(0).column(2).dictionary_page_offset or 0
    path.write_bytes(data[:start] + b"\xff" * 20 + data[start + 20 :])
    with path.open("rb") as file, open_parquet(file) as parquet:
        assert [bytes(cell() or b"") for cell in cells_of(parquet, 0, "image")] == [b"x"]  # type: ignore[arg-type]
        with pytest.raises(OSError):  # noqa: PT011  the column that is not wanted is broken
            parquet.read()
