"""Submissions as a run's folder keeps them."""

from __future__ import annotations

from pathlib import Path

from pixelmill.jobs.submission.records import Submitted, id_of, newest, write
from pixelmill.pipelines.stores.access import Access
from pixelmill.pipelines.stores.folder import Folder


def submitted(epoch: int, again: int = 1) -> Submitted:
    return Submitted(id_of("s3://b/out", epoch, again), "http://head:8265", epoch, again, "2026-11-28T00:00:00+00:00")


def test_an_id_follows_from_the_run_and_the_attempt_alone() -> None:
    assert id_of("s3://b/My Out", 3, 1) == id_of("s3://b/My Out", 3, 1)
    assert id_of("s3://b/My Out", 3, 1).startswith("pixelmill-my-out-")
    others = {
        id_of("s3://b/out", 3, 1),
        id_of("s3://c/out", 3, 1),
        id_of("s3://b/out", 4, 1),
        id_of("s3://b/out", 3, 2),
    }
    assert len(others) == 4


def test_the_newest_submission_is_that_of_the_last_attempt_and_the_last_try(tmp_path: Path) -> None:
    folder = Folder(str(tmp_path), Access())
    assert newest(folder) is None
    for each in (submitted(2), submitted(9, 2), submitted(9, 10), submitted(1)):
        write(folder, each)
    assert newest(folder) == submitted(9, 10)


def test_a_record_is_created_once(tmp_path: Path) -> None:
    folder = Folder(str(tmp_path), Access())
    write(folder, submitted(1))
    write(folder, Submitted("another", "http://other", 1, 1, "later"))
    assert newest(folder) == submitted(1)
