"""Decide in which part an input is accounted for when several list it."""

from __future__ import annotations

from pixelmill.pipelines.outputs.contents import Contents
from pixelmill.pipelines.outputs.parts import Part
from pixelmill.pipelines.outputs.rows import superseding_ids
from pixelmill.pipelines.outputs.segments import Segment
from pixelmill.pipelines.stores.folder import Folder


class Owners:
    """The part in which each input is accounted for: the last one that lists it and is done, otherwise the first."""

    def __init__(self, folder: Folder, segments: list[Segment], held: Contents) -> None:
        self._again = superseding_ids(folder, segments, held.is_done)
        self.parts = [
            part
            for segment in segments
            for part in segment.parts()
            if not segment.supersedes or held.is_done(part)  # until then its inputs are accounted for where they failed
        ]

    def own(self, part: Part, ids: list[str]) -> list[str]:
        """The inputs of a part that are accounted for there."""
        if not self._again:
            return ids
        return [identity for identity in ids if self._again.get(identity, part) == part]

    def redone_after(self, part: Part) -> frozenset[str]:
        """The inputs that a part after this one has redone."""
        return frozenset(identity for identity, later in self._again.items() if later.number > part.number)
