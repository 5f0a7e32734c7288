"""Write the rows of a run as a data set that can be published: Parquet and a card, with no folder of a machine in it.

DEST/
  README.md                 the card: front matter for `datasets`, columns, counts, how the run made them
  data/PART.parquet         the rows of a part of the run; `uri` is the place below the folder that all inputs share
  _export/                  the records of `destination.py`; not to be published
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from pixelmill.pipelines.arrow import Column, fields_of
from pixelmill.pipelines.export.destination import Destination
from pixelmill.pipelines.export.row_parts import RowsExported, WrittenPart, export_parts
from pixelmill.pipelines.outputs.card import CARD, DataSet, card_of, is_ours
from pixelmill.pipelines.outputs.columns import DATA, PLACE
from pixelmill.pipelines.outputs.encoding import encode
from pixelmill.pipelines.outputs.features import picture_features, stated_features
from pixelmill.pipelines.stores.explain import explained
from pixelmill.pipelines.stores.folder import Folder
from pixelmill.pipelines.stores.tables import declared_schema, open_parquet, read_rows
from pixelmill.workers.errors import JobError

_untyped: Any = pc  # its stubs leave the types of columns open

KEYS = ("id", "uri", "member", PLACE.name)
"""Columns that every data set has, as far as the run has them."""
MEANINGS = {"uri": "where the input lies below the folder that all inputs share"}


def chosen_columns(schema: pa.Schema, wanted: Sequence[str]) -> list[str]:
    """The keys and the columns that were asked for, in the order of the run; all of them where none was. JobError for a column
    that there is not."""
    if unknown := [name for name in wanted if name not in schema.names]:
        raise JobError(f"--column {unknown[0]}: is no column of this run; there are {', '.join(schema.names)}")
    return [name for name in schema.names if not wanted or name in wanted or name in KEYS]


class DataSetExport:
    """The rows of one run on their way to one destination, a part at a time in memory."""

    def __init__(self, run: Folder, columns: Sequence[str], root: str, destination: Destination) -> None:
        self._run, self._columns, self._root, self._destination = run, tuple(columns), root, destination
        self.tally = RowsExported()

    def work(self, parts: Sequence[str], report: Callable[[RowsExported], None]) -> None:
        """Export every missing part. RunRefused if the destination has files of another run or from elsewhere."""
        export_parts(self._run, self._destination, parts, self._write, self.tally, report)

    def _write(self, part: str) -> WrittenPart:
        with explained(self._run.uri, "reading the run"):
            table = self.rows_of(part)
        data = encode(table)
        self._destination.put(f"{DATA}/{part}", data)
        return WrittenPart(table.num_rows, table.nbytes, len(data))

    def rows_of(self, part: str) -> pa.Table:
        """The rows of a part, with places below the shared folder."""
        with self._run.open(f"{DATA}/{part}") as file, open_parquet(file) as parquet:
            declared = declared_schema(parquet)
            names = [name for name in self._columns if name in declared.names]
            fields = {field.name: field for field in fields_of(declared)}
            plain: Any = declared_of(fields, names)
            schema: pa.Schema = plain.with_metadata(picture_features(plain))
            table = read_rows(parquet, names).select(names).cast(schema)
        places: Any = below(table["uri"], self._root)
        return table.set_column(names.index("uri"), fields["uri"], places)

    def publish_card(self, success: Mapping[str, object], schema: pa.Schema, units: Mapping[str, str]) -> bool:
        """Write the card; False where a README.md stays that somebody wrote or changed."""
        fields = {field.name: field for field in fields_of(schema)}
        features = stated_features(declared_of(fields, self._columns))
        tally = self.tally
        size = DataSet(features, tally.rows + tally.rows_before, tally.memory_bytes, tally.file_bytes, MEANINGS)
        types = {name: str(fields[name].type) for name in self._columns}
        text = card_of(success, types, units, size).encode()
        with explained(f"{self._destination.uri}/{CARD}", "writing the card"):
            there = self._destination.folder.read(CARD)
            if there is not None and not is_ours(there):
                return False
            if there != text:
                self._destination.folder.publish(CARD, text)
        return True


def declared_of(fields: Mapping[str, pa.Field[Any]], names: Sequence[str]) -> pa.Schema:
    """These columns alone."""
    return pa.schema([fields[name] for name in names])


def below(uris: Column, root: str) -> Column:
    """Each place below the shared folder; the last name of one that does not lie below it, as an archive does whose members are
    all of the inputs."""
    prefix = f"{root}/"
    inside = _untyped.starts_with(uris, prefix)
    shortened = _untyped.utf8_slice_codeunits(uris, len(prefix))
    return _untyped.if_else(inside, shortened, _untyped.replace_substring_regex(uris, r"^.*/", ""))
