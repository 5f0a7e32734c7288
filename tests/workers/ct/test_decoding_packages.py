"""Packages that decode pixels are found by their modules."""

from __future__ import annotations

from pixelmill.workers.ct.decoding_packages import installed_packages
from pixelmill.workers.ct.transfer_syntaxes import SYNTAXES


def test_the_extra_brings_a_decoder_for_every_supported_syntax() -> None:
    assert [s.name for s in SYNTAXES.values() if s.packages and not installed_packages() & set(s.packages)] == []
