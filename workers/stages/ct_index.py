"""Index: the facts of every header of an archive, and keyed ids in the place of every text that identifies."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field, field_validator

from pixelmill.workers.errors import RowError
from pixelmill.workers.pictures import Kind, Picture
from pixelmill.workers.stages import Milled, StageConfig, StageContext
from pixelmill.workers.stages.assets import AssetKind

if TYPE_CHECKING:
    import pyarrow as pa

    from pixelmill.workers.ct.facts import ObjectFacts
    from pixelmill.workers.ct.keyed_ids import IdKey

ROW_BYTES = 400
BATCH = 64


class CtIndexConfig(StageConfig):
    """Store the facts of every header."""

    stage: ClassVar[str] = "ct-index"
    takes: ClassVar[frozenset[Kind]] = frozenset({"header"})
    speed_only: ClassVar[frozenset[str]] = frozenset({"key"})
    added: ClassVar[frozenset[str]] = frozenset({"picture_intercept_hu", "patient_pattern"})

    key: str = Field(
        "user", description="the key of the ids: a file, env (PIXELMILL_CT_KEY), or user (one of your own)"
    )
    picture_intercept_hu: float | None = Field(
        None, description="what is added to the values of TIFF and PNG slices, which state no intercept, such as -32768"
    )
    patient_pattern: str | None = Field(
        None,
        description="a regular expression whose one group is the patient in the name of a NIfTI file or a picture, such as "
        "`^([^/]+)/`",
    )

    @field_validator("patient_pattern")
    @classmethod
    def _has_a_group(cls, pattern: str | None) -> str | None:
        if pattern is None:
            return None
        try:
            groups = re.compile(pattern).groups
        except re.error as error:
            raise ValueError(f"is no regular expression: {error}") from None
        if groups != 1:
            raise ValueError(f"has {groups} groups; put the part of the name that is the patient in ( )")
        return pattern

    def assets(self) -> Mapping[str, AssetKind]:
        return {"key": "id key"}

    def id_key(self) -> IdKey:
        """The key, which travels with the config to the workers, and is written nowhere."""
        from pixelmill.workers.ct.keyed_ids import IdKey

        return IdKey(self.content_of("key"))

    def columns(self) -> tuple[str, ...]:
        from pixelmill.workers.ct.index_rows import FIELDS

        return tuple(field.name for field in FIELDS)

    def row_bytes(self, picture_px: int) -> int:
        return ROW_BYTES

    def identity(self) -> dict[str, object]:
        return {self.stage: {**self.output_options(), "key_fingerprint": self.id_key().fingerprint}}

    def describe(self, context: StageContext, *, here: bool) -> list[str]:
        return [f"ids are keyed; the key's fingerprint is {self.id_key().fingerprint}"]

    def build(self, context: StageContext) -> CtIndex:
        return CtIndex(self)


class CtIndex:
    """`run([facts, ...])` makes the columns of `workers/ct/index_rows.py`."""

    name = CtIndexConfig.stage
    weights_sha256 = None
    batch = BATCH
    batch_pixels: int | None = None

    def __init__(self, config: CtIndexConfig) -> None:
        from pixelmill.workers.ct.decoding_packages import installed_packages
        from pixelmill.workers.ct.index_rows import FIELDS

        self._key, self._installed = config.id_key(), installed_packages()
        self._picture_intercept_hu = config.picture_intercept_hu
        self.fields: tuple[pa.Field[Any], ...] = FIELDS
        self.settings: dict[str, object] = {"chosen": "default", "key_fingerprint": self._key.fingerprint}

    def prepare(self, picture: Picture) -> tuple[ObjectFacts, str]:
        """The facts, and a digest of the header."""
        from pixelmill.workers.ct.discretion import without_values
        from pixelmill.workers.ct.object_files import facts_in, with_intercept

        head = picture.pixels.numpy().tobytes()
        with without_values(self.name):
            found = facts_in(head, is_whole=False) or facts_in(head, is_whole=True)
            if found is None:
                raise RowError("decode", "Truncated", "the header is not whole; copy the object again")
            facts, digest = found
            return with_intercept(facts, self._picture_intercept_hu), digest

    def run(self, samples: Sequence[tuple[ObjectFacts, str]]) -> Milled:
        import pyarrow as pa

        from pixelmill.workers.ct.index_rows import index_row

        rows = [index_row(facts, digest, self._key, self._installed) for facts, digest in samples]
        return Milled(
            {field.name: pa.array([row[field.name] for row in rows], field.type) for field in self.fields}, {}
        )
