"""What an attempt may still write when another one has taken over, on a local disk and within one process."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from pixelmill.pipelines.outputs import claims
from pixelmill.pipelines.outputs.claims import Claim, ClaimedFolder
from pixelmill.pipelines.stores import local_disk
from pixelmill.pipelines.stores.folder import Folder
from pixelmill.workers.errors import ClaimLost
from tests.pipelines.outputs.by_hand import NoTime

FILE = "model.safetensors"


def claim(folder: Folder) -> Claim:
    return claims.take(folder, {}, is_gone=lambda _: True, clock=NoTime())


def test_a_claimed_folder_is_written_for_as_long_as_the_claim_stands(folder: Folder) -> None:
    mine = ClaimedFolder(folder, claim(folder))
    for content in (b"first", b"second"):
        mine.publish(FILE, content)
        assert folder.read(FILE) == content
    claim(folder)
    with pytest.raises(ClaimLost, match="attempt 2 has taken over"):
        mine.publish(FILE, b"late")
    assert folder.read(FILE) == b"second"


@pytest.mark.parametrize("before", [None, b"older"])
def test_a_write_is_refused_if_another_attempt_wrote_after_its_last_check(
    folder: Folder, before: bytes | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine = ClaimedFolder(folder, claim(folder))
    if before is not None:
        mine.publish(FILE, before)
    require: Callable[[Folder, Claim], None] = claims.require

    def then_overtaken(looked_at: Folder, held: Claim) -> None:
        require(looked_at, held)
        monkeypatch.setattr(claims, "require", require)
        ClaimedFolder(folder, claim(folder)).publish(FILE, b"newer")

    monkeypatch.setattr(claims, "require", then_overtaken)
    with pytest.raises(ClaimLost):
        mine.publish(FILE, b"late")
    assert folder.read(FILE) == b"newer"


@pytest.mark.parametrize("way", ["create", "replace", "publish"])
def test_a_file_whose_temporary_was_removed_on_its_way_is_written(
    folder: Folder, way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next attempt removes what others left, while one of them may only have been suspended."""
    folder.publish("data/there", b"old")
    removals = []

    def removed_once(temporary: str, path: str) -> None:
        monkeypatch.undo()
        folder.remove_temporaries("data")
        removals.append(temporary)
        {"create": os.link}.get(way, os.replace)(temporary, path)

    monkeypatch.setattr(local_disk.os, "link" if way == "create" else "replace", removed_once)
    if way == "create":
        assert folder.create("data/new", b"new")
    elif way == "replace":
        assert folder.replace("data/there", b"new", folder.tag("data/there") or "")
    else:
        folder.publish("data/there", b"new")
    assert removals
    assert folder.read("data/new" if way == "create" else "data/there") == b"new"
    assert [path.name for path in (Path(folder.path) / "data").iterdir() if path.name.startswith(".")] == []
