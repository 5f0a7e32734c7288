"""What an attempt publishes of itself: files that are never changed, and a status that only the newest attempt writes."""

from __future__ import annotations

import pytest

from pixelmill.pipelines.events import Event, PhaseBegan, Started, Status, Warned
from pixelmill.pipelines.outputs import claims
from pixelmill.pipelines.outputs.claims import Claim
from pixelmill.pipelines.outputs.self_report import NumberedFiles, SelfReport, read_events, read_log, read_status
from pixelmill.pipelines.stores.folder import Folder
from pixelmill.workers.errors import ClaimLost
from tests.pipelines.outputs.by_hand import NoTime

FIRST: list[Event] = [Started(attempt=1), PhaseBegan(phase="listing", attempt=1)]
SECOND: list[Event] = [Warned(text="slow: caf\u00e9", attempt=1)]


@pytest.fixture
def claim(folder: Folder) -> Claim:
    return take(folder)


def take(folder: Folder) -> Claim:
    return claims.take(folder, {}, is_gone=lambda _: True, clock=NoTime())


def test_events_and_log_come_back_in_order_and_files_never_change(folder: Folder, claim: Claim) -> None:
    report = SelfReport(folder, claim)
    report.add(FIRST, "one\n")
    report.publish_texts()
    before = folder.read("_run/attempts/0001/events/000000.jsonl")
    report.add(SECOND, "two caf\u00e9\n")
    report.publish_texts()
    report.publish_texts()  # nothing was added since
    assert folder.names("_run/attempts/0001/events") == ["000000.jsonl", "000001.jsonl"]
    assert folder.names("_run/attempts/0001/log") == ["000000.txt", "000001.txt"]
    assert folder.read("_run/attempts/0001/events/000000.jsonl") == before
    assert read_events(folder, 1) == [*FIRST, *SECOND]
    assert read_log(folder, 1) == "one\ntwo caf\u00e9\n"
    assert (read_events(folder, 2), read_log(folder, 2)) == ([], "")


def test_a_text_that_could_not_be_written_is_written_with_the_next(
    folder: Folder, claim: Claim, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(self: Folder, name: str, data: bytes) -> bool:
        raise ConnectionError("no answer")

    written = NumberedFiles(folder, claim, "log")
    written.add("one\n")
    with monkeypatch.context() as patch:
        patch.setattr(Folder, "create", fail)
        with pytest.raises(ConnectionError):
            written.publish()
    written.add("two\n")
    written.publish()
    assert folder.names("_run/attempts/0001/log") == ["000000.txt"]
    assert read_log(folder, 1) == "one\ntwo\n"


def test_where_two_claims_may_have_one_epoch_each_has_files_of_its_own(folder: Folder) -> None:
    for token in ("a" * 32, "b" * 32):
        written = NumberedFiles(folder, Claim(1, token, is_fenced=False), "log")
        written.add(f"{token[0]}\n")
        written.publish()
    assert read_log(folder, 1) == "a\nb\n"


def test_a_status_is_written_when_it_changed_and_by_the_newest_attempt_alone(folder: Folder, claim: Claim) -> None:
    report, status = SelfReport(folder, claim), Status()
    assert read_status(folder) is None
    report.publish_status(status)
    assert read_status(folder) == status
    folder.remove("_run/status.json")
    report.publish_status(status)  # the same again
    assert read_status(folder) is None
    take(folder)
    with pytest.raises(ClaimLost):
        report.publish_status(Status(phase="working"))
    assert read_status(folder) is None


def test_a_status_of_a_form_that_is_not_known_is_none(folder: Folder) -> None:
    folder.publish("_run/status.json", b'{"phase": 3, ')
    assert read_status(folder) is None
