"""What the package offers, read from its own source files, so that the command line can say it without loading torch.

The files are parsed and not executed. Architectures are classes under ``@register("…")``: the skeletons of all classes
are made, with their bases and the defaults of their fields, and Python's own rules of inheritance do the rest.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Any

__all__ = ["architectures", "data_sets", "studies"]

PACKAGE = Path(__file__).resolve().parent.parent


def architectures() -> dict[str, tuple[str, dict[str, Any]]]:
    """Return the kind of each registered architecture and its options with their defaults, in order of registration."""
    skeletons: dict[str, type] = {}
    found: dict[str, tuple[str, dict[str, Any]]] = {}
    for statement in _in_order_of_import("layers"):
        if isinstance(statement, ast.ClassDef):
            skeleton = skeletons[statement.name] = _skeleton(statement, skeletons)
            options: dict[str, Any] = {}
            for ancestor in reversed(skeleton.__mro__):  # as dataclass does
                options |= vars(ancestor).get("options", {})
            found |= {name: (getattr(skeleton, "kind", ""), options) for name, *_ in _registered(statement)}
    return found


def _skeleton(statement: ast.ClassDef, known: dict[str, type]) -> type:
    """Return a class with the bases of another that are known, its kind, and the fields that it adds."""
    bases = tuple(known[base.id] for base in statement.bases if isinstance(base, ast.Name) and base.id in known)
    members: dict[str, Any] = {"options": {}}
    for line in statement.body:
        if isinstance(line, ast.AnnAssign) and isinstance(line.target, ast.Name) and line.value is not None:
            fixed = ast.unparse(line.annotation).startswith("ClassVar")
            place = members if fixed else members["options"]
            if not fixed or line.target.id == "kind":
                place[line.target.id] = ast.literal_eval(line.value)
        elif isinstance(line, ast.Assign) and [ast.unparse(target) for target in line.targets] == ["kind"]:
            members["kind"] = ast.literal_eval(line.value)
    return type(statement.name, bases, members)


def studies() -> dict[str, str]:
    """Return the question of each study by its name."""
    return dict(words[:2] for line in _parsed(PACKAGE / "study" / "studies.py") for words in _registered(line))


def data_sets() -> list[str]:
    """Return the names of the data sets: the package's own, and those of every source."""
    own = next(
        line.value
        for line in _parsed(PACKAGE / "data" / "datasets.py")
        if isinstance(line, ast.Assign) and ast.unparse(line.targets[0]) == "SMALL"
    )
    names = [ast.literal_eval(own)]
    for line in _parsed(PACKAGE / "data" / "sources.py"):
        if isinstance(line, ast.Assign) and isinstance(line.value, ast.Call):
            names += [ast.literal_eval(word.value) for word in line.value.keywords if word.arg == "name"]
    return names


def _registered(statement: ast.stmt) -> Iterator[tuple[Any, ...]]:
    """Yield the words that a class or a function is registered with."""
    for decorator in getattr(statement, "decorator_list", []):
        if isinstance(decorator, ast.Call) and ast.unparse(decorator.func) == "register":
            yield tuple(map(ast.literal_eval, decorator.args))


def _in_order_of_import(wing: str) -> Iterator[ast.stmt]:
    """Yield the statements of a wing's files in the order in which Python executes them."""
    done: set[str] = set()

    def visit(file: Path) -> Iterator[ast.stmt]:
        done.add(file.stem)
        for line in _parsed(file):
            if isinstance(line, ast.ImportFrom) and line.module and line.module.startswith(f"orthobook.{wing}"):
                stem = line.module.rpartition(".")[2]
                for name in [alias.name for alias in line.names] if stem == wing else [stem]:
                    if name not in done and (next_file := file.with_name(f"{name}.py")).exists():
                        yield from visit(next_file)
            else:
                yield line

    yield from visit(PACKAGE / wing / "__init__.py")


def _parsed(file: Path) -> list[ast.stmt]:
    return ast.parse(file.read_text(encoding="utf-8")).body
