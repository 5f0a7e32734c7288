"""Files are written beside the steps: in order, one at a time, and what fails is raised."""

from __future__ import annotations

import threading

import pytest

from pixelmill.pipelines.training.checkpoint_writer import CheckpointWriter


def test_work_is_done_beside_the_caller_and_in_order() -> None:
    writer, go, done = CheckpointWriter(), threading.Event(), list[str]()
    writer.start(lambda: go.wait(60) and done.append("first"))
    writer.check()
    assert done == []
    go.set()
    writer.start(lambda: done.append("second"))
    assert done[0] == "first"
    writer.wait()
    assert done == ["first", "second"]


def check_again_and_again(writer: CheckpointWriter) -> None:
    while True:
        writer.check()


def test_an_error_is_raised_by_the_next_call_and_only_once() -> None:
    writer, failed = CheckpointWriter(), threading.Event()

    def fail() -> None:
        failed.set()
        raise OSError("no space")

    writer.start(fail)
    assert failed.wait(60)
    with pytest.raises(OSError, match="no space"):
        check_again_and_again(writer)
    writer.wait()
    writer.start(fail)
    with pytest.raises(OSError, match="no space"):
        writer.start(lambda: None)
