"""HTJ2K objects, which archives of clouds store, decode to what was encoded, by the extra's packages alone."""

from __future__ import annotations

import imagecodecs
import numpy as np
import pytest
from pydicom.encaps import encapsulate
from pydicom.uid import UID

from pixelmill.workers.ct.decoding_packages import installed_packages
from pixelmill.workers.ct.object_files import slices_in
from pixelmill.workers.ct.phantom_volume import phantom_volume
from pixelmill.workers.ct.transfer_syntaxes import refusal_of
from pixelmill.workers.errors import RowError
from tests.workers.ct.objects import a_slice, saved

PREFIX = "1.2.840.10008.1.2.4"
HU_HW = phantom_volume(4, 64, 5).hu_DHW[1].astype(np.int16)


def _object(uid: str, *, reversible: bool, rows: int = 64) -> bytes:
    stored_HW = (np.clip(HU_HW, -1024, 3071) + 1024).astype(np.uint16)
    dataset = a_slice(Rows=rows, Columns=64)
    dataset.file_meta.TransferSyntaxUID = UID(uid)
    dataset.PixelData = encapsulate([imagecodecs.htj2k_encode(stored_HW, reversible=reversible)])
    dataset["PixelData"].is_undefined_length = True
    return saved(dataset)


@pytest.mark.parametrize("uid", [f"{PREFIX}.201", f"{PREFIX}.202", f"{PREFIX}.203"])
def test_a_lossless_slice_is_what_was_encoded(uid: str) -> None:
    ((_, made),) = slices_in(_object(uid, reversible=True), max_pixels=1 << 20)
    assert np.array_equal(made.hu_HW, np.clip(HU_HW, -1024, 3071))


def test_a_lossy_slice_is_close() -> None:
    ((_, made),) = slices_in(_object(f"{PREFIX}.203", reversible=False), max_pixels=1 << 20)
    assert np.abs(made.hu_HW.astype(int) - np.clip(HU_HW, -1024, 3071)).mean() < 5


def test_a_frame_of_another_size_or_cut_off_is_refused() -> None:
    data = _object(f"{PREFIX}.201", reversible=True)
    for broken in (_object(f"{PREFIX}.201", reversible=True, rows=32), data[: len(data) - 3000]):
        with pytest.raises(RowError, match=r"can.t be decoded|can be read|holds no PixelData"):
            list(slices_in(broken, max_pixels=1 << 20))


def test_without_the_package_its_name_is_reported() -> None:
    assert "pylibjpeg-openjpeg" in (
        refusal_of(f"{PREFIX}.201", installed_packages() - {"pylibjpeg-openjpeg"}, 12) or ""
    )
