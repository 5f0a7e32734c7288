"""Account for every row: which parts are done, which inputs failed, which are missing; and publish what was made.

    data/part-000017.parquet     the finished rows of part 17, created once; it commits the part, and says in its metadata
                                 which rows failed and why
    failed/part-000017.parquet   the rows of part 17 that could not be done, as that metadata has them, without those
                                 that a later part redid; follows from data/ and can always be made again

A part's files keep their names. Of two attempts that do a part, the first to create its data file decides what is in
it, and the other one reads that. What a retry redoes is a part of a later segment (pipelines/outputs/manifest.py).
"""

from __future__ import annotations

from pixelmill.pipelines.outputs.accounting import Account, account
from pixelmill.pipelines.outputs.columns import (
    DATA,
    ERROR_COLUMNS,
    FAILED,
    FAILED_SCHEMA,
    INPUT_FIELDS,
    METADATA_KEY,
    SUCCESS,
    input_fields,
)
from pixelmill.pipelines.outputs.contents import Contents, Provenance, failures, progress, provenance_of
from pixelmill.pipelines.outputs.encoding import Compression, encode
from pixelmill.pipelines.outputs.identity import require_same
from pixelmill.pipelines.outputs.publishing import Written, publish
from pixelmill.pipelines.outputs.settling import settle

__all__ = [
    "DATA",
    "ERROR_COLUMNS",
    "FAILED",
    "FAILED_SCHEMA",
    "INPUT_FIELDS",
    "METADATA_KEY",
    "SUCCESS",
    "Account",
    "Compression",
    "Contents",
    "Provenance",
    "Written",
    "account",
    "encode",
    "failures",
    "input_fields",
    "progress",
    "provenance_of",
    "publish",
    "require_same",
    "settle",
]
