"""What an attempt says of itself is there while it runs, adds up, holds no secret, and never ends a run."""

from __future__ import annotations

import io
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pixelmill.jobs.event_stream import EventStream
from pixelmill.jobs.session import publisher
from pixelmill.jobs.session.publisher import AttemptPublisher, LogTail
from pixelmill.jobs.terminal.display import Terminal
from pixelmill.pipelines.events import RowsCounted, Status, Warned
from pixelmill.pipelines.outputs.claims import Claim
from pixelmill.pipelines.outputs.self_report import STATUS, SelfReport, read_events, read_log, read_status
from pixelmill.pipelines.stores.access import Access
from pixelmill.pipelines.stores.folder import Folder
from tests.waiting import comes

SECRET = "wJalrXUtnFEMIK7MDENGbPxRfiCYEXAMPLEKEY"


def claimed(folder: Folder, epoch: int) -> Claim:
    claim = Claim(epoch, "0" * 32, folder.is_fenced)
    assert folder.create(claim.file, b"{}")
    return claim


class Attempt:
    """One attempt that says what it is told to, many times a second."""

    def __init__(self, folder: Folder, log: Path, epoch: int = 1) -> None:
        self.folder, self.log, self.epoch, self.is_lost = folder, log, epoch, False
        self.log.touch()
        self.events = EventStream(Terminal(io.StringIO(), is_terminal=False), "run", time.time)
        report = SelfReport(folder, claimed(folder, epoch))
        self.publisher = AttemptPublisher(report, self.events, LogTail(log), lambda: self.is_lost)
        self.events.begin(epoch)
        self.publisher.start()

    def say(self, text: str) -> None:
        with self.log.open("a") as file:
            file.write(text)

    def status(self) -> Status:
        return read_status(self.folder) or Status()


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(str(tmp_path / "out"), Access())


@pytest.fixture(autouse=True)
def in_a_hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("FIRST_S", "STATUS_EVERY_S", "TEXTS_EVERY_S"):
        monkeypatch.setattr(publisher, name, 0.01)


def test_events_and_log_are_there_while_the_attempt_runs_and_add_up_to_the_whole(
    folder: Folder, tmp_path: Path
) -> None:
    attempt = Attempt(folder, tmp_path / "log")
    for number in range(5):
        attempt.say(f"line {number}\n")
        attempt.events.emit(RowsCounted(total=9, done=number))
        attempt.events.emit(Warned(text=f"warning {number}"))
        assert comes(lambda n=number: f"line {n}\n" in read_log(folder, 1))
        assert comes(lambda n=number: attempt.status().rows.done == n)
    attempt.say("the last line, without its end")
    attempt.publisher.close()
    assert len(folder.names("_run/attempts/0001/events")) > 1
    assert read_log(folder, 1) == (tmp_path / "log").read_text()
    assert Status().fold_all(read_events(folder, 1)) == attempt.events.status == attempt.status()


def test_what_was_published_before_a_kill_is_readable(folder: Folder, tmp_path: Path) -> None:
    attempt = Attempt(folder, tmp_path / "log")
    attempt.events.phase("milling")
    assert comes(lambda: attempt.status().phase == "milling")
    attempt.is_lost = True  # nothing is written from here on, as after a kill
    status = attempt.status()
    assert (status.attempt, status.ended, status.phase) == (1, None, "milling")
    assert Status().fold_all(read_events(folder, 1)).phase == "milling"


def test_a_second_attempt_overwrites_nothing_of_the_first(folder: Folder, tmp_path: Path) -> None:
    first = Attempt(folder, tmp_path / "log")
    first.events.emit(Warned(text="of the first"))
    first.publisher.close()
    before = {
        name: folder.read(f"_run/attempts/0001/events/{name}") for name in folder.names("_run/attempts/0001/events")
    }
    second = Attempt(folder, tmp_path / "log", epoch=2)
    second.publisher.close()
    assert before == {name: folder.read(f"_run/attempts/0001/events/{name}") for name in before}
    assert second.status().attempt == 2
    assert second.status().warnings == ()


def test_an_attempt_that_lost_its_claim_leaves_the_status_of_the_one_that_has_it(
    folder: Folder, tmp_path: Path
) -> None:
    first = Attempt(folder, tmp_path / "log")
    assert comes(lambda: first.status().attempt == 1)
    second = Attempt(folder, tmp_path / "log", epoch=2)
    second.publisher.close()
    status = folder.read(STATUS)
    first.events.emit(Warned(text="late"))  # its beat has not found out yet, but the folder refuses
    first.publisher.close()
    assert folder.read(STATUS) == status


def test_a_store_that_fails_ends_nothing_and_what_it_missed_comes_with_the_next_file(
    folder: Folder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    attempt = Attempt(folder, tmp_path / "log")
    with monkeypatch.context() as patch:

        def fail(*_: object) -> bool:
            raise OSError("no answer")

        patch.setattr(Folder, "create", fail)
        patch.setattr(Folder, "publish", fail)
        attempt.say("while it failed\n")
        attempt.events.emit(Warned(text="while it failed"))
        time.sleep(0.2)
    attempt.publisher.close()
    assert read_log(folder, 1) == "while it failed\n"
    assert attempt.status().warnings == ("while it failed",)
    assert Status().fold_all(read_events(folder, 1)) == attempt.events.status


@pytest.mark.parametrize("text", ["", "{", '{"rows": 3}'])
def test_a_status_that_nobody_can_read_is_none(folder: Folder, text: str) -> None:
    folder.publish(STATUS, text.encode())
    assert read_status(folder) is None


def test_no_secret_is_published(folder: Folder, tmp_path: Path) -> None:
    attempt = Attempt(folder, tmp_path / "log")
    uri = f"s3://AKIAIOSFODNN7EXAMPLE:{SECRET}@bucket/a.jpg"
    attempt.events.emit(Warned(text=f"{uri} is gone"))
    for text in (f"aws_secret_access_key={SECRET[:20]}", f"{SECRET[20:]}\n", f"{uri}\n"):
        attempt.say(text)
        time.sleep(0.05)
    attempt.publisher.close()
    written = b"".join(path.read_bytes() for path in Path(folder.path).rglob("*") if path.is_file())
    assert b"bucket/a.jpg" in written
    assert SECRET.encode() not in written
    assert SECRET[20:].encode() not in written


@given(texts=st.lists(st.sampled_from(["a line\n", "half a line", "\u00e9\n", "\n"]), max_size=8))
def test_a_log_that_is_read_a_part_at_a_time_is_the_whole_log(
    tmp_path_factory: pytest.TempPathFactory, texts: list[str]
) -> None:
    path = tmp_path_factory.mktemp("log") / "log"
    path.touch()
    tail, read = LogTail(path), list[str]()
    for text in texts:
        with path.open("a") as file:
            file.write(text)
        read.append(tail.read(is_last=False))
    assert all(each.endswith("\n") for each in read if each)
    assert "".join([*read, tail.read(is_last=True)]) == "".join(texts) == tail.whole()


@pytest.mark.parametrize("cut", [10, 30, 45, 70])
def test_a_key_that_is_written_in_two_halves_is_not_read_in_halves(tmp_path: Path, cut: int) -> None:
    key = "-----BEGIN PRIVATE KEY-----\nMIIEvQIBADANBgkqhkiG9w0B\nAQEFAASC\n-----END PRIVATE KEY-----\n"
    (tmp_path / "log").write_text(f"before\n{key[:cut]}")
    tail = LogTail(tmp_path / "log")
    read = tail.read(is_last=False)
    with (tmp_path / "log").open("a") as file:
        file.write(f"{key[cut:]}after\n")
    read += tail.read(is_last=False)
    assert "MIIE" not in read
    assert "AQEF" not in read
    assert read.startswith("before\n")
    assert read.endswith("after\n")
