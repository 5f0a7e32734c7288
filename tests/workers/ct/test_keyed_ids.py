"""Keyed ids are stable, differ by kind and parts, and never show the key."""

from __future__ import annotations

import pytest

from pixelmill.workers.ct.keyed_ids import IdKey
from pixelmill.workers.errors import JobError

KEY = IdKey(b"0123456789abcdef0123456789abcdef")
OTHER = IdKey(b"another key of 32 bytes, no more")


def test_an_id_depends_on_key_kind_and_every_part() -> None:
    ids = {
        KEY.id_of("patient", "a", "b"), KEY.id_of("patient", "ab"), KEY.id_of("patient", "a\0b"), KEY.id_of("series", "a", "b"),
        KEY.id_of("patient", "a\\", "b"), KEY.id_of("patient", "a\\0b"), OTHER.id_of("patient", "a", "b"),
    }  # fmt: skip
    assert len(ids) == 7
    assert KEY.id_of("patient", "a", "b") == KEY.id_of("patient", "a", "b")
    assert all(len(each) == 32 for each in ids)


def test_the_key_is_never_shown() -> None:
    shown = f"{KEY!r} {KEY.fingerprint} {KEY}"
    assert "0123456789abcdef0123" not in shown
    assert KEY.fingerprint in shown


def test_a_short_key_is_refused_with_a_way_to_make_one() -> None:
    with pytest.raises(JobError, match="urandom"):
        IdKey(b"short")
