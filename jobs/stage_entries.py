"""The decoder and the stages of a job file: which there are, by their registries, and whether they fit together."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Annotated, Any, cast

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    ValidationError,
    create_model,
)
from pydantic_core import CoreSchema, InitErrorDetails, PydanticCustomError, core_schema

from pixelmill.workers.decoders import DECODERS, decoder_of
from pixelmill.workers.stages import STAGES, StageConfig, config_class
from pixelmill.workers.stages.wiring import Misfit, wire


def _known_decoder(name: str) -> str:
    if name not in DECODERS:
        near = difflib.get_close_matches(name, DECODERS, n=1, cutoff=0.5)
        raise ValueError(f"no decoder is called {name}; " + (f"did you mean {near[0]}?" if near else _decoders()))
    return name


def _decoders() -> str:
    return f"there are {', '.join(DECODERS)}"


DecoderName = Annotated[
    str, AfterValidator(_known_decoder), Field(json_schema_extra=lambda schema: schema.update(enum=[*DECODERS]))
]


@dataclass(frozen=True)
class StageEntry:
    """One stage of a job: `{KIND: {its options}}`, of which `KIND` and `{KIND: null}` are short forms."""

    config: StageConfig

    @property
    def kind(self) -> str:
        return self.config.stage

    @classmethod
    def validate(cls, raw: Any) -> StageEntry:
        if isinstance(raw, StageEntry):
            return raw
        named = _entries_model().model_validate(spelled_out(raw))
        given = [getattr(named, kind) for kind in named.model_fields_set]
        if len(given) != 1:
            raise ValueError(f"a stage names exactly one of: {', '.join(STAGES)}")
        return cls(given[0])

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(
            cls.validate, serialization=core_schema.plain_serializer_function_ser_schema(cls.to_document)
        )

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        return handler(_entries_model().__pydantic_core_schema__)

    def to_document(self) -> dict[str, Any]:
        return {self.kind: self.config.model_dump(by_alias=True)}


def spelled_out(stage: object) -> object:
    """`embed` and `embed:` are `embed: {}`."""
    if isinstance(stage, str):
        return {stage: {}}
    if isinstance(stage, dict):
        named = cast("dict[str, object]", stage)
        return {kind: dict[str, object]() for kind in named} if list(named.values()) == [None] else named
    return stage


def _entries_model() -> type[BaseModel]:
    """A model with a key for each registered kind; what is registered may grow."""
    return _model_of(tuple(STAGES))


@cache
def _model_of(kinds: tuple[str, ...]) -> type[BaseModel]:
    fields: dict[str, Any] = {kind: (config_class(kind) | None, None) for kind in kinds}
    return create_model(
        "StageEntry",
        __config__=ConfigDict(frozen=True, extra="forbid"),
        __doc__="One stage: exactly one of the kinds below.",
        **fields,
    )


def raise_misfits(entries: Sequence[StageEntry], decoder: str) -> None:
    """ValidationError, at the key that is wrong, where stages don't fit together or not to what the decoder makes."""
    try:
        wire([entry.config for entry in entries], decoder_of(decoder).kind)
    except Misfit as misfit:
        where = ("stages", misfit.index, entries[misfit.index].kind, misfit.key)
        fault = InitErrorDetails(
            type=PydanticCustomError("misfit", "{why}", {"why": str(misfit)}), loc=where, input=None
        )
        raise ValidationError.from_exception_data("JobSpec", [fault]) from misfit


# The keys that there are


def stage_kinds() -> list[str]:
    return list(STAGES)


def stage_keys(kind: str) -> list[str]:
    """The keys of one kind of stage, as a job file writes them; none where there is no such kind."""
    return _keys_of(config_class(kind)) if kind in STAGES else []


def keys_of_all_stages() -> list[str]:
    return list(dict.fromkeys(key for kind in STAGES for key in stage_keys(kind)))


def _keys_of(model: type[BaseModel]) -> list[str]:
    return [field.alias or name for name, field in model.model_fields.items()]


def with_bare_stages(schema: Mapping[str, Any]) -> dict[str, Any]:
    """The schema of a job file, in which `- embed` is a stage too."""
    made = dict(schema)
    stages = cast("dict[str, Any]", made["properties"]["stages"])
    stages["items"] = {"anyOf": [stages["items"], {"enum": stage_kinds()}]}
    return made
