"""Every input is listed once, however it is named and however many there are."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from pixelmill.pipelines.inputs.sources import Source
from pixelmill.pipelines.outputs import layout
from pixelmill.pipelines.outputs.rows import read_files
from pixelmill.pipelines.stores.folder import Folder
from tests.pipelines.outputs.listings import list_into, uris_of

REPOSITORY = Path(__file__).parents[3]


def test_an_input_that_a_list_names_twice_is_done_once(tmp_path: Path, folder: Folder) -> None:
    (tmp_path / "list.txt").write_text("a.jpg\nb.jpg\n./a.jpg\n\n# comment\nb.jpg\nsub/../a.jpg\n")
    source = Source((str(tmp_path / "list.txt"),))
    segments, _, listing = list_into(folder, source)
    assert uris_of(folder, segments) == [str(tmp_path / "a.jpg"), str(tmp_path / "b.jpg")]
    assert listing.duplicates == 3
    _, known, listing = list_into(folder, source)
    assert (listing.rows, listing.duplicates, known.removed) == (0, 3, 0)


def test_sources_that_overlap_give_each_input_once(photos: Path, folder: Folder) -> None:
    segments, _, listing = list_into(folder, Source((str(photos), f"{photos}/00*.jpg", str(photos / "039.jpg"))))
    assert sorted(uris_of(folder, segments)) == sorted(map(str, photos.iterdir()))
    assert listing.duplicates == 11


def test_duplicates_far_apart_in_a_long_list_are_found(
    tmp_path: Path, folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(layout, "ROWS_PER_GROUP", 4)
    (tmp_path / "list.txt").write_text("\n".join(f"{number % 10}.jpg" for number in range(95)))
    segments, _, listing = list_into(folder, Source((str(tmp_path / "list.txt"),)))
    assert (segments[0].rows, listing.duplicates) == (10, 85)
    _, known, listing = list_into(folder, Source((str(tmp_path / "list.txt"),)))
    assert (listing.rows, known.removed) == (0, 0)


def test_names_that_are_not_utf8_are_listed_with_their_reason(photos: Path, folder: Folder) -> None:
    (Path(str(photos) + "/caf\udce9.jpg")).write_bytes(b"latin-1")
    (Path(str(photos) + "/caf.\udce9")).write_bytes(b"ignored")
    source = Source((str(photos),))
    segments, _, listing = list_into(folder, source)
    rows = next(read_files(folder, segments[0])).to_pylist()
    (bad,) = [row for row in rows if row["problem"]]
    assert bad["uri"] == f"{photos}/caf\\udce9.jpg"
    assert bad["problem"].startswith("BadName: ")
    json.dumps(listing.ignored.by_suffix, ensure_ascii=False).encode()
    _, known, listing = list_into(folder, source)
    assert (listing.rows, known.removed, known.changed) == (0, 0, 0)


LIST_A_MILLION = """
import sys, time
import fsspec
from fsspec.spec import AbstractFileSystem

class Endless(AbstractFileSystem):
    protocol = "endless"
    cachable = False

    def ls(self, path, detail=True, **kwargs):
        path = self._strip_protocol(path).strip("/")
        if "/" not in path:
            found = [{"name": f"{path}/{number:04d}", "size": 0, "type": "directory"} for number in range(1000)]
        else:
            found = [
                {"name": f"{path}/photo-{number:04d}.jpg", "size": number, "type": "file", "ETag": f"{number:032x}"}
                for number in range(1000)
            ]
        return found if detail else [entry["name"] for entry in found]

    def info(self, path, **kwargs):
        return {"name": path, "size": 0, "type": "directory"}

fsspec.register_implementation("endless", Endless)

from pixelmill.pipelines.outputs.known import Known
from pixelmill.pipelines.outputs.listing import Listing, tables_of
from pixelmill.pipelines.outputs.parts import plan_parts
from pixelmill.pipelines.outputs.segments import read_segments
from pixelmill.pipelines.inputs.sources import Source
from pixelmill.pipelines.stores.access import Access
from pixelmill.pipelines.stores.folder import Folder

out, start_s, rows = Folder(sys.argv[1], Access()), time.monotonic(), []
for attempt in range(2):
    segments = read_segments(out)
    known, listing = Known(out, segments), Listing(out, len(segments))
    listing.write(t for t in tables_of(Source(("endless://archive",)), listing, known) if t.num_rows)
    if listing.rows:
        listing.commit(plan_parts(listing.rows, row_bytes=2048, file_bytes=128 << 20), 0)
    rows.append(listing.rows)
    assert known.removed == known.changed == 0
    (peak,) = [line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM")]
    print(rows[-1], time.monotonic() - start_s, peak)  # of this program: ru_maxrss holds what the tests had before it
"""


@pytest.mark.slow
def test_a_million_names_are_listed_within_a_minute_and_a_gigabyte(tmp_path: Path) -> None:
    command = [sys.executable, "-c", LIST_A_MILLION, str(tmp_path / "out")]
    printed = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=True).stdout
    first, again = ([float(word) for word in line.split()] for line in printed.splitlines())
    assert (first[0], again[0]) == (1_000_000, 0)
    assert first[1] < 60
    assert again[1] - first[1] < 60
    assert max(first[2], again[2]) < 1 << 20  # KiB
