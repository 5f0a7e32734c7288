"""An input is accounted for in the last part that lists it and is done, else in the first."""

from __future__ import annotations

from pixelmill.pipelines.outputs.contents import progress
from pixelmill.pipelines.outputs.owners import Owners
from pixelmill.pipelines.outputs.segments import Segment
from pixelmill.pipelines.stores.folder import Folder
from tests.pipelines.outputs.by_hand import NAMES, ids_of, list_again, publish


def owned(folder: Folder, segments: list[Segment]) -> dict[int, list[str]]:
    """By part, the inputs that are accounted for there."""
    owners = Owners(folder, segments, progress(folder))
    return {part.number: owners.own(part, ids_of(folder, segments, part)) for part in owners.parts}


def test_without_a_retry_every_part_owns_its_inputs_done_or_not(folder: Folder, segments: list[Segment]) -> None:
    first, second = segments[0].parts()
    assert owned(folder, segments) == {0: ids_of(folder, segments, first), 1: ids_of(folder, segments, second)}


def test_an_input_that_was_listed_again_is_owned_by_the_last_part_that_did_it(
    folder: Folder, segments: list[Segment]
) -> None:
    publish(folder, 0, NAMES[:3], failed=(NAMES[0], NAMES[1]))
    list_again(folder, NAMES[:2])
    again = list_again(folder, NAMES[1:2])
    a, b, c, *others = (identity for part in segments[0].parts() for identity in ids_of(folder, again, part))
    assert owned(folder, again) == {0: [a, b, c], 1: others}
    publish(folder, 2, NAMES[:2], failed=(NAMES[1],))
    assert owned(folder, again) == {0: [c], 1: others, 2: [a, b]}
    publish(folder, 3, NAMES[1:2])
    assert owned(folder, again) == {0: [c], 1: others, 2: [a], 3: [b]}


def test_each_part_knows_the_inputs_that_a_later_part_has_redone(folder: Folder, segments: list[Segment]) -> None:
    publish(folder, 0, NAMES[:3], failed=(NAMES[0],))
    again = list_again(folder, NAMES[:1])
    first, retried = next(again[0].parts()), next(again[1].parts())
    assert Owners(folder, again, progress(folder)).redone_after(first) == frozenset()
    publish(folder, 2, NAMES[:1])
    owners = Owners(folder, again, progress(folder))
    assert owners.redone_after(first) == frozenset(ids_of(folder, again, retried))
    assert owners.redone_after(retried) == frozenset()
