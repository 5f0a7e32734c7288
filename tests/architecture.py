"""What a source file reads, reaches for and how long it is: the facts that the rules of the architecture are about.

Each check takes a file and gives what is found in it, so that it can be tried on files that break the rule.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parent.parent
FLOORS = ("jobs", "pipelines", "workers")

SURROUNDINGS = frozenset(
    {"os.environ", "os.environb", "os.getenv", "os.putenv", "sys.argv", "sys.orig_argv"}
    | {"time.time", "time.time_ns", "time.localtime", "time.gmtime", "time.ctime"}
    | {f"datetime.datetime.{name}" for name in ("now", "utcnow", "today")}
    | {"datetime.date.today"}
)
"""Arguments, environment and clock. A monotonic clock says how long something took and is free for all."""

PUBLIC_UNDERSCORES = frozenset({"_replace", "_asdict", "_fields", "_make", "_exit", "_typeshed"})
"""Names that their libraries document: of named tuples, os._exit, and the types of the standard library's stubs."""


def source_files(*folders: str) -> list[Path]:
    """Every Python file below these folders of the repository."""
    return sorted(path for folder in folders for path in (ROOT / folder).rglob("*.py"))


def relative(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


# ------------------------------------------------------------------------------------------------------------- names


def names_used(path: Path) -> set[str]:
    """Complete dotted names that a file imports or reads, whatever it calls them: `t.time` after `import time as t`."""
    tree = _tree(path)
    aliases = _aliases(tree)
    found = set(aliases.values())
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and (dotted := _dotted(node)):
            head, _, rest = dotted.partition(".")
            found.add(f"{aliases.get(head, head)}.{rest}")
    return found


def modules_imported(path: Path) -> set[str]:
    """Complete names of the modules that a file imports anywhere in it; `from a import b` counts as a and as a.b."""
    found: set[str] = set()
    for node in ast.walk(_tree(path)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return found


def imports_package(path: Path, package: str) -> bool:
    return any(name == package or name.startswith(f"{package}.") for name in modules_imported(path))


def surroundings_read(path: Path) -> set[str]:
    """What a file reads of the arguments, the environment and the clock."""
    return {name for name in SURROUNDINGS if any(_begins(used, name) for used in names_used(path))}


def _begins(used: str, name: str) -> bool:
    return used == name or used.startswith(f"{name}.")


def _aliases(tree: ast.Module) -> dict[str, str]:
    """What each imported name stands for."""
    found: dict[str, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                complete = alias.name if alias.asname else alias.name.partition(".")[0]
                found[alias.asname or complete] = complete
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {alias.asname or alias.name: f"{node.module}.{alias.name}" for alias in node.names}
    return found


def _dotted(node: ast.expr) -> str | None:
    """`a.b.c` of an attribute of a name; None of any other expression."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute) and (base := _dotted(node.value)):
        return f"{base}.{node.attr}"
    return None


def _tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


# ----------------------------------------------------------------------------------------------------- private names


def private_reaches(path: Path) -> set[str]:
    """Names with a leading underscore that a file takes from another one, by import or through an object."""
    tree = _tree(path)
    own = _names_made(tree)
    found = {name for name in modules_imported(path) if any(map(_is_private, name.split(".")))}
    for node in ast.walk(tree):
        if not isinstance(node, ast.Attribute) or node.attr in own:
            continue
        if _is_private(node.attr) and not _is_own(node.value):
            found.add(ast.unparse(node))
    return found


def _is_private(name: str) -> bool:
    return name.startswith("_") and not name.endswith("__") and name not in PUBLIC_UNDERSCORES


def _is_own(base: ast.expr) -> bool:
    """self, cls, and super(), which gives what the class inherits."""
    if isinstance(base, ast.Call) and isinstance(base.func, ast.Name):
        return base.func.id == "super"
    return isinstance(base, ast.Name) and base.id in {"self", "cls"}


def _names_made(tree: ast.Module) -> set[str]:
    """Private names that the file itself gives to a function, a class, a variable or an attribute."""
    made: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            made.add(node.name)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            made.add(node.id)
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            made.add(node.attr)
    return made


def late_attributes(path: Path) -> set[str]:
    """`Class.attribute` for each that a method sets on itself, and neither the class nor its `__init__` names."""
    return {found for node in ast.walk(_tree(path)) if isinstance(node, ast.ClassDef) for found in _late(node)}


_BUILDERS = {"__init__", "__new__", "__post_init__", "__setstate__"}


def _late(kind: ast.ClassDef) -> Iterator[str]:
    methods = [node for node in kind.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    early = {target.id for node in kind.body for target in _targets(node) if isinstance(target, ast.Name)}
    early |= {name for method in methods if method.name in _BUILDERS for name in _set_on_self(method)}
    late = {name for method in methods if method.name not in _BUILDERS for name in _set_on_self(method)}
    return (f"{kind.name}.{name}" for name in late - early)


def _targets(node: ast.stmt) -> list[ast.expr]:
    if isinstance(node, ast.Assign):
        return node.targets
    return [node.target] if isinstance(node, ast.AnnAssign) else []


def _set_on_self(method: ast.FunctionDef | ast.AsyncFunctionDef) -> set[str]:
    return {
        node.attr
        for node in ast.walk(method)
        if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store) and _is_own(node.value)
    }


# -------------------------------------------------------------------------------------------------------------- calls


def calls(path: Path) -> set[str]:
    """`owner.method` for every call of a method of something that has a name: self.out.store.open() is store.open."""
    functions = (node.func for node in ast.walk(_tree(path)) if isinstance(node, ast.Call))
    return {
        f"{_last_name(function.value)}.{function.attr}" for function in functions if isinstance(function, ast.Attribute)
    }


def _last_name(node: ast.expr) -> str:
    return getattr(node, "attr", getattr(node, "id", ""))


# ------------------------------------------------------------------------------------------------------------ lengths


def lines(path: Path) -> int:
    return len(path.read_text(encoding="utf-8").splitlines())


def long_functions(path: Path, most: int) -> set[str]:
    """Names of the functions of more than `most` lines, their docstrings and decorators included."""
    return {
        node.name
        for node in ast.walk(_tree(path))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and (node.end_lineno or 0) - min([node.lineno, *(each.lineno for each in node.decorator_list)]) + 1 > most
    }


# --------------------------------------------------------------------------------------------------------- expressions


def nested_choices(path: Path) -> set[str]:
    """Conditional expressions within conditional expressions, which few read at once."""
    found = (node for node in ast.walk(_tree(path)) if isinstance(node, ast.IfExp))
    return {ast.unparse(node) for node in found if any(isinstance(each, ast.IfExp) for each in _parts_of(node))}


def _parts_of(node: ast.IfExp) -> tuple[ast.expr, ...]:
    return node.test, node.body, node.orelse


_CHOOSE = (ast.IfExp, ast.BoolOp, ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)


def choices_as_statements(path: Path) -> set[str]:
    """Expressions that choose or repeat what to do and whose value nobody takes: `if` and `for` say so."""
    found = (node for node in ast.walk(_tree(path)) if isinstance(node, ast.Expr))
    return {ast.unparse(node) for node in found if isinstance(node.value, _CHOOSE)}


def names_by_loop(path: Path) -> set[str]:
    """Loops over one thing within a comprehension, which only give it a name."""
    found = (node.iter for node in ast.walk(_tree(path)) if isinstance(node, ast.comprehension))
    ones = (each for each in found if isinstance(each, ast.List | ast.Tuple) and len(each.elts) == 1)
    return {ast.unparse(each) for each in ones if not isinstance(each.elts[0], ast.Starred)}


# --------------------------------------------------------------------------------------------------------------- tests


def unquoted_places(path: Path) -> set[str]:
    """Commands in texts for people whose folder is not quoted, so that a shell would cut `my pictures` in two."""
    found: set[str] = set()
    for text in (node for node in ast.walk(_tree(path)) if isinstance(node, ast.JoinedStr)):
        said = ""
        for part in text.values:
            if isinstance(part, ast.Constant):
                said += str(part.value)
            elif isinstance(part, ast.FormattedValue):
                if _COMMAND.search(said) and _is_unquoted_place(part.value):
                    found.add(f"{said[-60:]}{{{ast.unparse(part.value)}}}")
                said += "x"
    return found


_COMMAND = re.compile(r"\b(pixelmill|hf) [a-z]+ [^`;\n]*$")
_PLACES = frozenset({"uri", "out", "destination", "folder"})


def _is_unquoted_place(value: ast.expr) -> bool:
    if isinstance(value, ast.Call) and _last_name(value.func) == "quote":
        return False
    return any(_last_name(node) in _PLACES for node in ast.walk(value) if isinstance(node, ast.Name | ast.Attribute))


def has_functions(path: Path) -> bool:
    """Whether a module has logic of its own; configs and constants have none."""
    return any(isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) for node in ast.walk(_tree(path)))


def has_tests(path: Path) -> bool:
    """Whether a test file holds a test."""
    return path.is_file() and any(
        isinstance(node, ast.FunctionDef) and node.name.startswith("test_") for node in ast.walk(_tree(path))
    )


def lacks_tests(path: Path, root: Path = ROOT) -> bool:
    """Whether a module with logic has no test file of its name at the mirrored place: jobs/a/b.py, tests/jobs/a/test_b.py.

    The `__init__.py` of a room holds what all of its modules share, and contract tests hold them against it.
    """
    inside = path.relative_to(root)
    return (
        inside.name != "__init__.py"
        and has_functions(path)
        and not has_tests(root / "tests" / inside.parent / f"test_{inside.name}")
    )
