"""A part is published once: its data file commits it, and says what failed, whoever else does the same part."""

from __future__ import annotations

import pytest

from pixelmill.pipelines.outputs.accounting import account
from pixelmill.pipelines.outputs.columns import DATA, FAILED
from pixelmill.pipelines.outputs.contents import progress
from pixelmill.pipelines.outputs.publishing import Written
from pixelmill.pipelines.outputs.segments import Segment
from pixelmill.pipelines.stores.folder import Folder
from tests.pipelines.outputs.by_hand import NAMES, failed_uris, publish


def test_publishing_twice_is_publishing_once(folder: Folder, segments: list[Segment]) -> None:
    for _ in range(2):
        publish(folder, 0, NAMES[:3], failed=(NAMES[1],))
    publish(folder, 1, NAMES[3:])
    assert account(folder, segments).is_exact


def test_a_published_part_is_not_changed_by_another_attempt(folder: Folder, segments: list[Segment]) -> None:
    first = publish(folder, 0, NAMES[:3], failed=(NAMES[1],))
    kept = {name: folder.read(f"{name}/part-000000.parquet") for name in (DATA, FAILED)}
    again = publish(folder, 0, NAMES[:3], failed=(NAMES[0], NAMES[2]))
    assert again == first == Written(2, 1, len(kept[DATA] or b""))
    assert {name: folder.read(f"{name}/part-000000.parquet") for name in kept} == kept


def test_a_part_killed_before_its_failures_were_filed_is_done_and_they_are_filed_as_it_has_them(
    folder: Folder, segments: list[Segment], monkeypatch: pytest.MonkeyPatch
) -> None:
    original = Folder.create

    def dies_before_failures(self: Folder, name: str, data: bytes) -> bool:
        if name.startswith(FAILED):
            raise KeyboardInterrupt
        return original(self, name, data)

    monkeypatch.setattr(Folder, "create", dies_before_failures)
    with pytest.raises(KeyboardInterrupt):
        publish(folder, 0, NAMES[:3], failed=(NAMES[0], NAMES[1]))
    monkeypatch.undo()
    assert progress(folder).is_done(next(segments[0].parts()))
    publish(folder, 0, NAMES[:3], failed=(NAMES[2],))  # another attempt did the part too, and had other faults
    publish(folder, 1, NAMES[3:])
    assert failed_uris(folder) == [NAMES[0], NAMES[1]]
    found = account(folder, segments)
    assert (found.done, found.failed, found.is_exact) == (4, 2, True)


@pytest.mark.parametrize("failed", [(), (NAMES[2],)], ids=["without failures", "with another failure"])
def test_failures_that_lie_there_before_their_part_is_done_are_those_of_nobody(
    folder: Folder, segments: list[Segment], failed: tuple[str, ...]
) -> None:
    """Versions that wrote them first were killed then, or a data file was removed because it was cut."""
    publish(folder, 0, NAMES[:3], failed=(NAMES[0], NAMES[1]))
    folder.remove("data/part-000000.parquet")
    assert not progress(folder).is_done(next(segments[0].parts()))
    publish(folder, 0, NAMES[:3], failed=failed)
    publish(folder, 1, NAMES[3:])
    assert failed_uris(folder) == list(failed)
    assert account(folder, segments).is_exact
