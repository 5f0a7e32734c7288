"""Attribute an exception to one row, which is recorded as failed, or to the device, which fails no row."""

from __future__ import annotations

import socket

from pixelmill.workers.credentials import scrub
from pixelmill.workers.errors import RowError
from pixelmill.workers.runtime.faults import DeviceFault, is_device_fault, is_out_of_memory


def row_error_of(error: Exception, stage: str) -> RowError:
    """The error of one row; DeviceFault if the device caused it."""
    if isinstance(error, RowError):
        return error
    text = scrub(str(error)).partition("\n")[0][:500] or "no detail"
    if isinstance(error, DeviceFault) or is_device_fault(error):
        raise DeviceFault(f"{stage} on {socket.gethostname()}: {type(error).__name__}: {text}") from error
    if is_out_of_memory(error):
        fact = f"the device has too little memory for it, even alone ({text})"
        return RowError(stage, "OutOfMemory", f"{fact}: use a device with more, or fewer run.actors on this one")
    return RowError(stage, type(error).__name__, text)


def filed_under(stage: str, error: RowError) -> RowError:
    """The error under the stage's name in its job, without the traceback, which would hold pictures in memory."""
    return RowError(stage, error.error_type, str(error))
