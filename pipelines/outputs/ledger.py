"""Names of several modules of this room under one, for callers that have not moved to these modules yet."""

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
