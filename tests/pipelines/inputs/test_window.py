"""The window counts what is under way, and gets back what finds no room."""

from __future__ import annotations

import pytest

from pixelmill.pipelines.inputs.requests import FetchLimits, Input, weight_of
from pixelmill.pipelines.inputs.window import Grant, NoRoom, Window


def test_an_object_without_room_gives_back_the_bytes_already_read() -> None:
    window = Window(5000)
    item = Input(7, "https://a.example/a.jpg", None, None, 0, None)
    grant = Grant(item, window, FetchLimits())
    grant.expect(2000)
    grant.expect(4000)
    with pytest.raises(NoRoom):
        grant.expect(6000)
    assert window.held_bytes == 4000
    grant.give_back()
    assert window.held_bytes == weight_of(item)
    window.next_position = 7
    grant.expect(1 << 30)
    assert window.held_bytes == 1 << 30
