"""Give a label the orientation of its picture: EXIF turns pictures, and labels may be stored as shown or as stored pixels.

Legend: H height, W width.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from pixelmill.workers.errors import DataError

TURNS: dict[int, Callable[[np.ndarray], np.ndarray]] = {
    2: lambda ids_HW: ids_HW[:, ::-1],
    3: lambda ids_HW: ids_HW[::-1, ::-1],
    4: lambda ids_HW: ids_HW[::-1],
    5: lambda ids_HW: ids_HW.T,
    6: lambda ids_HW: np.rot90(ids_HW, -1),
    7: lambda ids_HW: ids_HW[::-1, ::-1].T,
    8: lambda ids_HW: np.rot90(ids_HW),
}
"""The turn that a viewer applies to stored pixels, by EXIF orientation."""


def as_shown(label_HW: np.ndarray, picture_HW: tuple[int, ...], orientation: int, lies: str | None) -> np.ndarray:
    """The label in the orientation of the shown picture; DataError if the sizes differ, or if the orientation is unknown."""
    turned_HW = label_HW if orientation == 1 else TURNS[orientation](label_HW)
    fits = {"shown": label_HW.shape == picture_HW, "stored": turned_HW.shape == picture_HW}
    if orientation == 1 or lies is not None:
        if fits[lies or "shown"]:
            return turned_HW if lies == "stored" else label_HW
    elif fits["shown"] and not fits["stored"]:
        return label_HW
    raise DataError(_misfit(label_HW.shape, picture_HW, orientation, all(fits.values()), fits["stored"]))


def _misfit(label_HW: tuple[int, ...], picture_HW: tuple[int, ...], turn: int, is_open: bool, is_stored: bool) -> str:
    label, picture = ("x".join(map(str, reversed(each))) for each in (label_HW, picture_HW))
    if turn == 1:
        return f"the label has {label} px and its picture {picture}; make them the same size"
    fact = (
        f"EXIF turns the picture (orientation {turn}), which is {picture} px as it is shown, and its label is {label}"
    )
    if is_open:
        return (
            f"{fact}: set turned_labels to shown where labels were drawn on pictures as a viewer shows them, or to stored "
            "where they lie as the pixels are stored"
        )
    if is_stored:
        return f"{fact}, as the pixels are stored: set turned_labels to stored, or turn the label"
    return f"{fact}; make them the same size"
