"""Fingerprint: hashes, pixel statistics and a thumbnail of every picture, to find duplicates and pictures that show little.

Legend: C channels, H height, W width, S side.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field

from pixelmill.workers.errors import RowError
from pixelmill.workers.pictures import Kind, Picture
from pixelmill.workers.stages import Milled, StageConfig, StageContext
from pixelmill.workers.stages.picture_column import picture_field, picture_value

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

BATCH = 32
JPEG_QUALITY = 80
THUMBNAIL_BYTES_PER_PX = 0.4
ENDINGS = ("sha256", "phash", "brightness", "contrast", "sharpness", "thumbnail")


class FingerprintConfig(StageConfig):
    """Hash, measure and shrink every picture; `pixelmill duplicates`, `leaks`, `outliers` and `report` use the columns."""

    stage: ClassVar[str] = "fingerprint"
    takes: ClassVar[frozenset[Kind]] = frozenset({"rgb8", "grey8"})
    meanings: ClassVar[Mapping[str, str]] = {
        "_sha256": "SHA-256 of the decoded pixels: equal for files that differ in metadata or lossless compression alone",
        "_phash": "64-bit perceptual hash; copies differ in few bits; 0: no structure",
        "_brightness": "mean luma, 0 black to 1 white",
        "_contrast": "standard deviation of the luma, 0 to 0.5",
        "_sharpness": "standard deviation of the luma's Laplacian at 256 px; small: blurred",
        "_thumbnail": "the picture at most thumbnail_px high and wide, as JPEG",
    }

    column: str = Field("fingerprint", min_length=1, description="what the names of the output columns begin with")
    thumbnail_px: int = Field(96, ge=16, le=512, description="longer side of the thumbnail")

    def columns(self) -> tuple[str, ...]:
        return tuple(f"{self.column}_{ending}" for ending in ENDINGS)

    def row_bytes(self, picture_px: int) -> int:
        return 100 + 600 + int(THUMBNAIL_BYTES_PER_PX * self.thumbnail_px**2)

    def identity(self) -> dict[str, object]:
        return {self.stage: self.output_options()}

    def describe(self, context: StageContext, *, here: bool) -> list[str]:
        return [f"hashes, brightness, contrast, sharpness and a thumbnail of {self.thumbnail_px} px"]

    def build(self, context: StageContext) -> Fingerprint:
        return Fingerprint(self)


class Fingerprint:
    """`run([values, ...])` makes the columns; everything is computed in `prepare`, on many threads."""

    weights_sha256 = None
    batch = BATCH
    batch_pixels: int | None = None

    def __init__(self, config: FingerprintConfig) -> None:
        import pyarrow as pa

        self._column, self._thumbnail_px = config.column, config.thumbnail_px
        numbers = [
            pa.field(f"{config.column}_{name}", pa.float32()) for name in ("brightness", "contrast", "sharpness")
        ]
        self.fields: tuple[pa.Field[Any], ...] = (
            pa.field(f"{config.column}_sha256", pa.string()),
            pa.field(f"{config.column}_phash", pa.uint64()),
            *numbers,
            picture_field(f"{config.column}_thumbnail"),
        )
        self.settings: dict[str, object] = {"chosen": "default"}

    def prepare(self, picture: Picture) -> list[object]:
        """The values of the columns, in their order."""
        from pixelmill.workers.similarity import fingerprints

        pixels_CHW = picture.pixels.numpy()
        if 0 in pixels_CHW.shape:
            raise RowError("fingerprint", "Empty", "the picture has no pixels")
        luma_SS = fingerprints.luma_of(resized(pixels_CHW, fingerprints.HASHED_PX, fingerprints.HASHED_PX))
        measured = fingerprints.statistics_of(fingerprints.luma_of(shrunk(pixels_CHW, fingerprints.MEASURED_PX)))
        thumbnail = jpeg_of(shrunk(pixels_CHW, self._thumbnail_px))
        hashes = (fingerprints.pixels_sha256(pixels_CHW), fingerprints.perceptual_hash(luma_SS))
        return [*hashes, *measured, picture_value(thumbnail)]

    def run(self, samples: Sequence[list[object]]) -> Milled:
        import pyarrow as pa

        columns: dict[str, Any] = {
            field.name: pa.array([sample[place] for sample in samples], field.type)
            for place, field in enumerate(self.fields)
        }
        return Milled(columns, {})


def shrunk(pixels_CHW: np.ndarray, longer_px: int) -> np.ndarray:
    """The picture with a longer side of at most `longer_px`."""
    height, width = pixels_CHW.shape[1:]
    factor = min(1.0, longer_px / max(height, width))
    return resized(pixels_CHW, max(1, round(height * factor)), max(1, round(width * factor)))


def resized(pixels_CHW: np.ndarray, height: int, width: int) -> np.ndarray:
    """uint8 pixels in another size; every pixel of the picture counts."""
    import numpy as np
    from PIL import Image

    if pixels_CHW.shape[1:] == (height, width):
        return pixels_CHW
    shown = pixels_CHW[0] if len(pixels_CHW) == 1 else np.ascontiguousarray(pixels_CHW.transpose(1, 2, 0))
    small = np.asarray(Image.fromarray(shown).resize((width, height), Image.Resampling.BOX))
    return small[None] if small.ndim == 2 else small.transpose(2, 0, 1)


def jpeg_of(pixels_CHW: np.ndarray) -> bytes:
    from io import BytesIO

    import numpy as np
    from PIL import Image

    shown = pixels_CHW[0] if len(pixels_CHW) == 1 else np.ascontiguousarray(pixels_CHW.transpose(1, 2, 0))
    file = BytesIO()
    Image.fromarray(shown).save(file, "JPEG", quality=JPEG_QUALITY)
    return file.getvalue()
