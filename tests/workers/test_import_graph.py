"""No module of the workers needs itself, not even by way of a registry that names places in strings."""

from __future__ import annotations

import ast
import graphlib
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PLACE = re.compile(r"(pixelmill\.workers(?:\.\w+)+)(?::\w+)?")


def name_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(["pixelmill", *(part for part in parts if part != "__init__")])


ROOMS = ("codecs", "evaluation", "geometry", "losses", "models", "networks", "prediction", "recipes")
MODULES = {name_of(path): path for room in ROOMS for path in sorted((ROOT / "workers" / room).rglob("*.py"))}


def needs(text: str, known: set[str]) -> set[str]:
    """The modules that a source imports, anywhere in it, or names in a string as the place of something."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            inner = {f"{node.module}.{alias.name}" for alias in node.names} & known
            outer = {node.module} if len(inner) < len(node.names) else set[str]()
            found |= inner | outer
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and (named := PLACE.fullmatch(node.value)):
            found.add(named[1])
    return found & known


def order(sources: dict[str, str]) -> list[str]:
    """The modules in the order of their dependencies; CycleError if there is a cycle."""
    graph = {name: needs(text, set(sources)) for name, text in sources.items()}
    return list(graphlib.TopologicalSorter(graph).static_order())


def test_a_circle_in_strings_is_found() -> None:
    sources = {
        "pixelmill.workers.a": 'PLACES = {"b": "pixelmill.workers.b:B"}',
        "pixelmill.workers.b": "def f():\n    from pixelmill.workers.a import PLACES",
    }
    with pytest.raises(graphlib.CycleError) as caught:
        order(sources)
    assert set(caught.value.args[1]) == set(sources)


def test_workers_have_no_circle_in_imports_or_in_the_strings_of_registries() -> None:
    sources = {name: path.read_text(encoding="utf-8") for name, path in MODULES.items()}
    placed = needs(sources["pixelmill.workers.networks.registry"], set(sources))
    assert "pixelmill.workers.networks.finetuned" in placed  # strings are followed
    assert len(order(sources)) == len(sources) > 40
