"""Check the bytes of a network in ONNX before a library parses it: refuse references to other files and foreign operators.

An ONNX file is a protobuf message. The check reads a few of its fields (onnx.proto3): where a tensor stores its numbers, and the
domain of an operator. Imports neither torch nor an ONNX library.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from pixelmill.workers.errors import ModelError

MOST_BYTES = (1 << 31) - 1
"""A protobuf message is smaller than 2 GB; larger networks store their weights in other files, which are refused."""
MOST_DEPTH = 64
DOMAINS = frozenset({"", "ai.onnx", "ai.onnx.ml", "com.microsoft"})
"""Domains of the operators that onnxruntime includes; any other domain needs a native library."""
REFUSED_OPERATORS = frozenset({"EPContext", "PyOp", "PythonOp"})
"""Operators that read other files or run Python."""

_TENSOR, _SPARSE, _ATTRIBUTE, _NODE, _GRAPH, _FUNCTION, _MODEL = range(7)
_INSIDE: Mapping[int, Mapping[int, int]] = {
    _MODEL: {7: _GRAPH, 25: _FUNCTION},
    _GRAPH: {1: _NODE, 5: _TENSOR, 15: _SPARSE},
    _FUNCTION: {7: _NODE, 11: _ATTRIBUTE},
    _NODE: {5: _ATTRIBUTE},
    _ATTRIBUTE: {5: _TENSOR, 6: _GRAPH, 10: _TENSOR, 11: _GRAPH, 22: _SPARSE, 23: _SPARSE},
    _SPARSE: {1: _TENSOR, 2: _TENSOR},
    _TENSOR: {},
}
"""By the type of a message: the fields that hold messages to check."""
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_DATA_TYPE, _FLOATS, _NAME, _RAW_DATA, _DOUBLES, _EXTERNAL_DATA, _DATA_LOCATION = 2, 4, 8, 9, 10, 13, 14
_STORED: Mapping[int, type[np.floating[Any]]] = {1: np.float32, 10: np.float16, 11: np.float64}
"""By the number of a tensor's type; float16 as raw bytes alone."""
_AT_ONCE = 1 << 20
_OPERATOR, _DOMAIN, _FUNCTION_DOMAIN = 4, 7, 10

Fields = list[tuple[int, int | memoryview]]
"""The fields of a message by number: an integer, or the bytes of a text, a message or packed numbers."""


def read_network(model: str, file: Path) -> bytes:
    """The bytes of a self-contained network; ModelError otherwise."""
    try:
        if file.stat().st_size > MOST_BYTES:
            raise ModelError(f"model {model}: has more than 2 GB; a network in one ONNX file is smaller")
        data = file.read_bytes()
    except OSError as error:
        raise ModelError(f"model {model}: can't be read ({error.strerror}); write onnx:FILE.onnx") from error
    try:
        messages = list(_messages(memoryview(data), _MODEL, 0))
    except (ValueError, IndexError) as error:
        raise ModelError(
            f"model {model}: is no ONNX file, or not a whole one ({error}); export or fetch it again"
        ) from error
    own = {
        _text(value)
        for kind, fields in messages
        if kind == _FUNCTION
        for number, value in fields
        if number == _FUNCTION_DOMAIN
    }
    for kind, fields in messages:
        if kind == _TENSOR:
            _refuse_external(model, fields)
            _refuse_no_numbers(model, fields)
        if kind == _NODE:
            _refuse_operator(model, fields, DOMAINS | own)
    return data


def _refuse_external(model: str, fields: Fields) -> None:
    if any(number == _EXTERNAL_DATA or (number == _DATA_LOCATION and value == 1) for number, value in fields):
        raise ModelError(
            f"model {model}: keeps weights in another file, which could be any file of this machine; save it as one with "
            "onnx.save(onnx.load(FILE), FILE, save_as_external_data=False)"
        )


def _refuse_no_numbers(model: str, fields: Fields) -> None:
    """ModelError for NaN or infinity; a mask of attention may hold minus infinity."""
    kind = next((value for number, value in fields if number == _DATA_TYPE), 0)
    stored = _STORED.get(kind) if isinstance(kind, int) else None
    if stored is None:
        return
    for number, value in fields:
        if (
            number in {_RAW_DATA, _FLOATS, _DOUBLES}
            and isinstance(value, memoryview)
            and not _are_numbers(value, stored)
        ):
            name = next((_text(value) for number, value in fields if number == _NAME), "")
            raise ModelError(
                f"model {model}: {name or 'a constant'} holds values that are no numbers (NaN or infinity); export it "
                "again, or take an earlier checkpoint"
            )


def _are_numbers(data: memoryview, stored: type[np.floating[Any]]) -> bool:
    values = np.frombuffer(data, stored, count=len(data) // np.dtype(stored).itemsize)
    chunks = (values[start : start + _AT_ONCE] for start in range(0, len(values), _AT_ONCE))
    return all(bool((chunk < np.inf).all()) for chunk in chunks)


def _refuse_operator(model: str, fields: Fields, domains: frozenset[str]) -> None:
    operators = [_text(value) for number, value in fields if number == _OPERATOR]
    if refused := REFUSED_OPERATORS.intersection(operators):
        raise ModelError(
            f"model {model}: has the operator {', '.join(refused)}, which reads or runs other files; export it without"
        )
    for domain in (_text(value) for number, value in fields if number == _DOMAIN):
        if domain not in domains:
            raise ModelError(
                f"model {model}: has an operator of the domain {domain}, which needs a library of native code, and none is "
                "loaded; export it with the operators of ONNX"
            )


def _text(value: int | memoryview) -> str:
    return bytes(value[:200]).decode(errors="replace") if isinstance(value, memoryview) else ""


def _messages(data: memoryview, kind: int, depth: int) -> Iterator[tuple[int, Fields]]:
    """Each message of a checked type, with its fields; ValueError if the bytes are not protobuf."""
    if depth > MOST_DEPTH:
        raise ValueError("its graphs are nested too deeply")
    fields = list(_fields(data))
    yield kind, fields
    for number, value in fields:
        inner = _INSIDE[kind].get(number)
        if inner is not None and isinstance(value, memoryview):
            yield from _messages(value, inner, depth + 1)


def _fields(data: memoryview) -> Iterator[tuple[int, int | memoryview]]:
    at = 0
    while at < len(data):
        tag, at = _varint(data, at)
        number, wire = tag >> 3, tag & 7
        if wire == _VARINT:
            value, at = _varint(data, at)
            yield number, value
            continue
        if wire == _BYTES:
            length, at = _varint(data, at)
        elif wire in {_FIXED64, _FIXED32}:
            length = 8 if wire == _FIXED64 else 4
        else:
            raise ValueError(f"a field of the kind {wire}")
        if at + length > len(data):
            raise ValueError("a field ends after its message")
        yield number, data[at : at + length]
        at += length


def _varint(data: memoryview, at: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        byte = data[at]
        at += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, at
    raise ValueError("a number of more than ten bytes")
