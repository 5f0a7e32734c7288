"""The log of a run, read while it grows and afterwards."""

from __future__ import annotations

from pathlib import Path

import pytest

from pixelmill.jobs.runs.following import followed, log
from pixelmill.pipelines.stores.access import Access
from pixelmill.pipelines.stores.folder import Folder
from pixelmill.workers.errors import JobError


def test_following_gives_every_line_once_until_the_attempt_has_ended(tmp_path: Path) -> None:
    out = Folder(str(tmp_path), Access())
    out.create("_run/attempts/0001/claim.json", b"{}")
    out.create("_run/attempts/0001/log/000000.txt", b"one\n")
    steps = [
        lambda: out.create("_run/attempts/0001/log/000001.txt", b"two\n"),
        lambda: None,
        lambda: (
            out.create("_run/attempts/0001/log/000002.txt", b"three\n"),
            out.create("_run/attempts/0001/log.txt", b"one\ntwo\nthree\nfour\n"),
            out.create("_run/attempts/0001/record.json", b"{}"),
        ),
    ]
    text = "".join(followed(out, lambda _: steps.pop(0)() and None))
    assert text == "one\ntwo\nthree\nfour\n"
    assert steps == []


def test_an_attempt_that_is_not_there_is_refused_with_those_that_are(tmp_path: Path) -> None:
    out = Folder(str(tmp_path), Access())
    with pytest.raises(JobError, match="no attempt has begun"):
        log(out, None)
    out.create("_run/attempts/0001/claim.json", b"{}")
    out.create("_run/attempts/0001/log/000000.txt", b"one\n")
    assert log(out, None) == log(out, 1) == "one\n"
    with pytest.raises(JobError, match="has no attempt 7; there are attempts 1 to 1"):
        log(out, 7)
