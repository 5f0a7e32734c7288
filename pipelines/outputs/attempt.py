"""The steps of one attempt around the work itself: sign, repair, list, seal, settle, succeed.

A process may end after any step, and another process that was believed dead may wake up during it; the laws hold nevertheless
(tests/faults/test_exactly_once.py tries them in every order).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Protocol

import pyarrow as pa

from pixelmill.pipelines.arrow import strings_of
from pixelmill.pipelines.explore import column_types, column_units
from pixelmill.pipelines.outputs import card, claims, repair
from pixelmill.pipelines.outputs.claims import Claim
from pixelmill.pipelines.outputs.columns import DATA, FAILED, SUCCESS
from pixelmill.pipelines.outputs.contents import Contents, failures, progress
from pixelmill.pipelines.outputs.known import Known
from pixelmill.pipelines.outputs.layout import FOLDER
from pixelmill.pipelines.outputs.listing import Listing
from pixelmill.pipelines.outputs.parts import Part, RowBytes, size_parts
from pixelmill.pipelines.outputs.rows import superseding_ids
from pixelmill.pipelines.outputs.segments import Segment, read_segments, remove_strays
from pixelmill.pipelines.stores.folder import Folder

IDENTITY, SPEC = "_run/identity.json", "_run/spec.yaml"
TEMPORARIES = (DATA, FAILED, "_run", FOLDER)
PASSING = ("attempt", "finished_at", "seconds")
"""What _SUCCESS says of the attempt that wrote it and not of the output."""


class Held(Protocol):
    """The hold of an attempt on its run."""

    claim: Claim

    def require(self) -> None:
        """Raises ClaimLost unless this attempt may write the files that decide the result."""
        ...

    def follows_unknown(self, since: int) -> bool:
        """Whether an earlier attempt may still wake up that began at epoch `since` or later."""
        ...


@dataclass
class Attempt:
    """One attempt at a run whose folder it holds; `row_bytes`, `rows_per_input` and `file_bytes` size the parts."""

    out: Folder
    held: Held
    row_bytes: RowBytes
    file_bytes: int
    rows_per_input: float = 1.0
    """An estimate. A part that turns out to have more rows is a larger file, and no input is ever cut."""

    def sign(self, identity: dict[str, Any], check: Callable[[bytes], None], spec: str | None) -> None:
        """Write the identity of the run if the folder has none. `check` gets the one that it has then, and raises where that is
        another run's."""
        stored = self.out.read(IDENTITY)
        if stored is None:
            self.held.require()
            mine = json.dumps(identity, indent=1).encode()
            stored = mine if self.out.create(IDENTITY, mine) else self.out.read(IDENTITY)
        check(stored or b"{}")
        if spec is not None:
            self._replace(SPEC, f"# attempt {self.held.claim.epoch}\n{spec}".encode())

    def _replace(self, name: str, data: bytes, may_replace: Callable[[bytes], bool] = lambda _: True) -> None:
        """Write a file of which the newest attempt's content counts. Raises ClaimLost where another attempt is the newest.

        `may_replace` is asked about the content that is there.
        """
        found = self.out.read_tagged(name)
        if found is not None and not may_replace(found[0]):
            return
        self.held.require()  # after the read: whoever takes over from here on changes the tag
        if not (self.out.create(name, data) if found is None else self.out.replace(name, data, found[1])):
            self.held.require()

    # Listing

    def resume(self) -> tuple[list[Segment], int]:
        """The manifest so far, and the number of repaired rows, after repair of interrupted attempts and late writes."""
        self.out.remove_temporaries(*TEMPORARIES)
        if self.out.is_fenced and claims.ended_well(self.out, self.held.claim.epoch - 1):
            return read_segments(self.out), 0
        segments = (
            read_segments(self.out) if self.out.is_fenced else repair.restore_manifest(self.out, self.held.require)
        )
        found = repair.repair(self.out, segments, self.held.require)
        waiting = self._waiting(segments, progress(self.out))
        lost = {part: [each for each in ids if each not in waiting] for part, ids in found.lost.items()}
        lost = {part: ids for part, ids in lost.items() if ids}
        return (self._list_again(segments, lost) if lost else segments), found.rows

    def list_new(
        self, segments: list[Segment], tables: Callable[[Listing, Known], Iterable[pa.Table]]
    ) -> tuple[list[Segment], Listing, Known]:
        """Add the new inputs of the source to the manifest; `tables` lists them. Without new inputs nothing is added."""
        known, listing = Known(self.out, segments), Listing(self.out, len(segments), self.held.claim.writer)
        listing.write(table for table in tables(listing, known) if table.num_rows)
        return (self._committed(segments, listing) if listing.rows else segments), listing, known

    def list_failed(self, segments: list[Segment], as_now: Callable[[pa.Table], pa.Table]) -> list[Segment]:
        """Add the failed inputs to the manifest again, to be redone, except for those that already wait to be redone.

        `as_now` returns manifest rows with the current state of their objects: a broken one may have been replaced since.
        """
        held = progress(self.out)
        waiting = self._waiting(segments, held)
        parts = {f"{part.name}.parquet": part for segment in segments for part in segment.parts()}
        failed: dict[Part, list[str]] = {}
        for name, table in failures(self.out):
            ids = [identity for identity in strings_of(table["id"]) if identity not in waiting]
            if ids and name in parts and held.is_done(parts[name]):
                failed[parts[name]] = ids
        return self._list_again(segments, failed, as_now) if failed else segments

    def _waiting(self, segments: list[Segment], held: Contents) -> frozenset[str]:
        """The inputs that are already listed again, in parts that are not done yet."""
        return frozenset(superseding_ids(self.out, segments, lambda part: not held.is_done(part)))

    def _list_again(
        self, segments: list[Segment], ids: dict[Part, list[str]], as_now: Callable[[pa.Table], pa.Table] | None = None
    ) -> list[Segment]:
        """A segment whose rows supersede those of these inputs."""
        listing = Listing(self.out, len(segments), self.held.claim.writer, supersedes=True)
        rows = repair.listed_again(self.out, segments, ids)
        listing.write(rows if as_now is None else map(as_now, rows))
        return self._committed(segments, listing)

    def _committed(self, segments: list[Segment], listing: Listing) -> list[Segment]:
        """The manifest with one more segment. Raises ClaimLost if a segment of another attempt has its number."""
        part_rows = size_parts(
            listing.pixels, self.row_bytes, file_bytes=self.file_bytes, rows_per_input=self.rows_per_input
        )
        self.held.require()
        segment = listing.commit(part_rows, sum(len(each.part_rows) for each in segments))
        if segment.writer != listing.writer:
            self.held.require()
        return [*segments, segment]

    def seal(self, segments: list[Segment]) -> list[Segment]:
        """Prevent attempts that may still wake up from adding to the manifest, then remove the files that they left there."""
        last = int(segments[-1].writer[:4] or 0) if segments else 0
        if segments and last != self.held.claim.epoch and self.held.follows_unknown(last):
            segments = self._committed(segments, Listing(self.out, len(segments), self.held.claim.writer))
        remove_strays(self.out, segments)
        return segments

    # The end

    def succeed(self, success: dict[str, Any]) -> None:
        """Record that the run is complete, unless that is recorded already: in the card, then in _SUCCESS."""
        self._publish_card(card.card_of(success, column_types(self.out), column_units(self.out)).encode())
        said = json.loads(self.out.read(SUCCESS) or b"{}")
        if _lasting(said) != _lasting(success):
            self._replace(SUCCESS, json.dumps(success | {"attempt": self.held.claim.epoch}, indent=1).encode())

    def _publish_card(self, text: bytes) -> None:
        """Write the card, unless there is a README.md that somebody else wrote or changed."""
        self._replace(card.CARD, text, lambda there: there != text and card.is_ours(there))


def _lasting(success: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in success.items() if key not in PASSING}


def pending(segments: list[Segment], held: Contents, *, retry: bool) -> list[Part]:
    """The parts that do not exist yet; for a retry, those of inputs that failed before."""
    chosen = [segment for segment in segments if segment.supersedes or not retry]
    return [part for segment in chosen for part in segment.parts() if not held.is_done(part)]
