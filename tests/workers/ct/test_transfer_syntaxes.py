"""Transfer syntaxes: what each needs."""

from __future__ import annotations

from pydicom.uid import UID

from pixelmill.workers.ct.transfer_syntaxes import SYNTAXES, refusal_of


def test_every_uid_is_one_that_dicom_knows_as_a_transfer_syntax() -> None:
    assert [uid for uid in SYNTAXES if not UID(uid).is_transfer_syntax] == []


def test_native_pixels_need_no_package() -> None:
    native = ["", "1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.2", "1.2.840.10008.1.2.5"]
    assert [refusal_of(uid, frozenset(), 12) for uid in native] == [None] * 5


def test_any_of_several_packages_will_do() -> None:
    assert refusal_of("1.2.840.10008.1.2.4.80", frozenset({"python-gdcm"}), 12) is None
    assert refusal_of("1.2.840.10008.1.2.4.80", frozenset({"pyjpegls"}), 12) is None


def test_jpeg_of_12_bits_needs_a_decoder_that_is_the_users_choice() -> None:
    uid = "1.2.840.10008.1.2.4.51"
    assert refusal_of(uid, frozenset({"python-gdcm"}), 8) is None
    assert "GPLv3" in (refusal_of(uid, frozenset({"python-gdcm"}), 12) or "")
    assert refusal_of(uid, frozenset({"python-gdcm", "pylibjpeg-libjpeg"}), 12) is None
