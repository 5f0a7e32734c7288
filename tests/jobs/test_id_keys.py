"""The key of the ids: where it comes from, and who may read it."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from pixelmill.jobs.id_keys import ENVIRONMENT, USER, VARIABLE, made_key_note, own_key_path, read_key
from pixelmill.workers.errors import JobError

NOTHING: dict[str, str] = {}


def _key_file(folder: Path, content: bytes = b"0123456789abcdef\n", mode: int = 0o600) -> Path:
    path = folder / "key"
    path.write_bytes(content)
    path.chmod(mode)
    return path


def test_a_key_of_ones_own_is_made_once_for_its_owner_alone_and_said(tmp_path: Path) -> None:
    note = made_key_note(USER, NOTHING, tmp_path / "made")
    first = read_key(USER, NOTHING, tmp_path / "made")
    assert note is not None
    assert str(own_key_path(tmp_path / "made")) in note
    assert first.decode() not in note
    assert read_key(USER, NOTHING, tmp_path / "made") == first
    assert made_key_note(USER, NOTHING, tmp_path / "made") is None
    assert stat.S_IMODE(own_key_path(tmp_path / "made").stat().st_mode) == 0o600
    assert read_key(USER, NOTHING, tmp_path / "other") != first
    assert [path.name for path in (tmp_path / "made").iterdir()] == ["ct.key"]


def test_the_environment_and_files_give_keys_without_white_space(tmp_path: Path) -> None:
    assert read_key(str(_key_file(tmp_path)), NOTHING) == b"0123456789abcdef"
    there = {VARIABLE: "a key of the environment"}
    assert read_key(ENVIRONMENT, there) == b"a key of the environment"
    assert read_key(USER, there, tmp_path / "none") == b"a key of the environment"
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize(
    ("content", "mode", "words"),
    [
        (b"short", 0o600, "5 bytes"),
        (b"0123456789abcdef", 0o644, "chmod 600"),
        (b"x" * 5000, 0o600, "4,096 are allowed"),
    ],
)
def test_a_key_that_is_weak_or_that_others_can_read_is_refused(
    tmp_path: Path, content: bytes, mode: int, words: str
) -> None:
    with pytest.raises(JobError, match=words) as caught:
        read_key(str(_key_file(tmp_path, content, mode)), NOTHING)
    assert content.decode() not in str(caught.value).replace(str(tmp_path), "")


def test_a_key_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(JobError, match="can't be read"):
        read_key(str(tmp_path / "gone"), NOTHING)
    with pytest.raises(JobError, match=VARIABLE):
        read_key(ENVIRONMENT, NOTHING)
