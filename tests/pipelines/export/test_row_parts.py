"""Parts of rows are exported once, counted in any case, and refused where the part is another by now."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pixelmill.pipelines.export.destination import Destination
from pixelmill.pipelines.export.row_parts import RowsExported, WrittenPart, export_parts
from pixelmill.pipelines.outputs.columns import DATA
from pixelmill.pipelines.stores.access import Access
from pixelmill.pipelines.stores.folder import Folder
from pixelmill.workers.errors import RunRefused
from tests.pipelines.findings.explored import add_part, open_out


class Written:
    """Parts that were written, in order."""

    def __init__(self) -> None:
        self.parts: list[str] = []

    def __call__(self, part: str) -> WrittenPart:
        self.parts.append(part)
        return WrittenPart(2, 20, 10)


def exported(run: Folder, destination: Destination, written: Written) -> RowsExported:
    tally = RowsExported()
    export_parts(run, destination, run.names(DATA), written, tally, lambda _: None)
    return tally


def test_a_part_is_written_once_and_counted_each_time(tmp_path: Path) -> None:
    run, to, written = open_out(tmp_path / "out"), Destination(Folder(str(tmp_path / "to"), Access())), Written()
    add_part(run, ["a", "b"], np.ones((2, 3)))
    assert vars(exported(run, to, written)) == vars(RowsExported(1, 0, 2, 0, 20, 10))
    add_part(run, ["c", "d"], np.ones((2, 3)))
    assert vars(exported(run, to, written)) == vars(RowsExported(1, 1, 2, 2, 40, 20))
    assert written.parts == list(run.names(DATA))


def test_a_part_that_was_made_anew_by_other_weights_is_refused(tmp_path: Path) -> None:
    run, to, written = open_out(tmp_path / "out"), Destination(Folder(str(tmp_path / "to"), Access())), Written()
    add_part(run, ["a", "b"], np.ones((2, 3)))
    exported(run, to, written)
    (name,) = run.names(DATA)
    other = open_out(tmp_path / "other")
    add_part(other, ["a", "b"], np.ones((2, 3)), weights="f" * 64)
    (made,) = other.names(DATA)
    run.publish(f"{DATA}/{name}", other.read(f"{DATA}/{made}") or b"")
    with pytest.raises(RunRefused):
        exported(run, to, written)
