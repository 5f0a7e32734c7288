"""Read the data files of an index, column by column, within bounded memory."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import cast

import pyarrow as pa

from pixelmill.pipelines.outputs.contents import data_files
from pixelmill.pipelines.stores.access import open_store
from pixelmill.pipelines.stores.folder import Folder
from pixelmill.pipelines.stores.tables import open_parquet
from pixelmill.workers.ct.index_rows import FIELDS

BATCH_ROWS = 8192
NOT_NEEDED = frozenset({"frame_id", "thickness_mm", "slope", "intercept", "transfer_syntax"})


def object_columns() -> list[str]:
    """The columns that series are made of."""
    return ["id", "uri", *(field.name for field in FIELDS if field.name not in NOT_NEEDED)]
