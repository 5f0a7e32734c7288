"""Compare the output with the manifest, part by part: which inputs are done, failed, missing or in the wrong place."""

from __future__ import annotations

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from itertools import islice

from pixelmill.pipelines.arrow import strings_of
from pixelmill.pipelines.outputs.columns import DATA, FAILED, PLACE
from pixelmill.pipelines.outputs.contents import Contents, old_retried_ids, progress, read_columns
from pixelmill.pipelines.outputs.owners import Owners
from pixelmill.pipelines.outputs.parts import Part
from pixelmill.pipelines.outputs.rows import Rows
from pixelmill.pipelines.outputs.segments import Segment
from pixelmill.pipelines.outputs.wholeness import Inputs, inputs_in
from pixelmill.pipelines.stores.folder import Folder


@dataclass
class Account:
    """Counts of inputs. The law: listed = done + failed, and none is missing, twice, unknown or incomplete."""

    listed: int = 0
    done: int = 0
    failed: int = 0
    missing: int = 0
    twice: int = 0
    unknown: int = 0
    incomplete: int = 0
    """Inputs of many rows of which some are missing."""
    rows: int = 0
    """Rows in data/: as many as inputs that are done, unless an input makes several."""
    reasons: Counter[tuple[str, str]] = field(default_factory=Counter)

    @property
    def is_exact(self) -> bool:
        return self.is_complete and self.is_exact_so_far

    @property
    def is_exact_so_far(self) -> bool:
        """The law, apart from missing inputs."""
        return (
            not (self.twice or self.unknown or self.incomplete)
            and self.listed == self.done + self.failed + self.missing
        )

    @property
    def is_complete(self) -> bool:
        return self.missing == 0


def account(folder: Folder, segments: list[Segment]) -> Account:
    """Read the ids of all rows and compare them with the manifest, part by part."""
    found, held, rows = Account(), progress(folder), Rows(folder, segments)
    retried = old_retried_ids(folder, held)
    owners = Owners(folder, segments, held)
    parts = iter(owners.parts)
    with ThreadPoolExecutor(8, "account") as pool:
        while batch := list(
            islice(parts, 32)
        ):  # a few parts at a time, so that ten million ids are not in memory at once
            made = pool.map(partial(_made_of, folder, held), batch)
            for part, in_part in zip(batch, made, strict=True):
                listed = owners.own(part, strings_of(rows.of(part)["id"]))
                _count_part(found, listed, in_part, retried)
    found.unknown += sum(retried.values()) + _strange_rows(folder, held, segments)
    return found


def _strange_rows(folder: Folder, held: Contents, segments: list[Segment]) -> int:
    """The number of rows in data/ and failed/ in files of no part and no retry: a reader would read them too."""
    ours = {f"{part.name}.parquet" for segment in segments for part in segment.parts()}
    strangers = [f"{DATA}/{name}" for name in held.data - ours - set(held.old_retries)]
    strangers += [f"{FAILED}/{name}" for name in held.failed - ours]
    return sum(read_columns(folder, name, []).num_rows for name in strangers if name.endswith(".parquet"))


@dataclass(frozen=True)
class _Made:
    """The rows of one part that exist."""

    data: Inputs = field(default_factory=Inputs)
    rows: int = 0
    failures: tuple[tuple[str, str, str], ...] = ()
    """The id, stage and type of each failure."""


def _made_of(folder: Folder, held: Contents, part: Part) -> _Made:
    name = f"{part.name}.parquet"
    if name not in held.data:
        return _Made()
    rows = read_columns(folder, f"{DATA}/{name}", ["id", PLACE.name])
    if name not in held.failed:
        return _Made(inputs_in(rows), rows.num_rows)
    failed = read_columns(folder, f"{FAILED}/{name}", ["id", "stage", "error_type"])
    columns = (strings_of(failed[column]) for column in ("id", "stage", "error_type"))
    return _Made(inputs_in(rows), rows.num_rows, tuple(zip(*columns, strict=True)))


def _count_part(found: Account, listed: list[str], made: _Made, retried: Counter[str]) -> None:
    there = made.data.times + Counter(identity for identity, _, _ in made.failures)
    for identity in listed:
        again = retried.pop(identity, 0)
        times = there.pop(identity, 0) + again
        found.missing += times == 0
        found.twice += times > 1
        found.done += again
    found.unknown += sum(there.values())
    found.listed += len(listed)
    found.failed += len(made.failures)
    found.reasons.update((stage, error_type) for _, stage, error_type in made.failures)
    found.done += made.data.times.total()
    found.incomplete += len(made.data.incomplete)
    found.rows += made.rows
