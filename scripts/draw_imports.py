"""Draw which room of the package imports which: an arc for each pair, all of them downwards.

    python scripts/draw_imports.py                 prints the pairs, draws _build/imports.svg
    python scripts/draw_imports.py --to FILE.svg

A room is a wing or a file of the package. Imports inside functions count; only those for type checkers do not.
"""

from __future__ import annotations

import argparse
import ast
from collections.abc import Iterator, Sequence
from pathlib import Path

from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "orthobook"

ROOMS = (
    "_checks",
    "orthogonal",
    "layers",
    "framework",
    "theory.mean_field",  # below the networks, which ask it for the threshold of a coherence
    "networks",
    "derivatives",
    "data",
    "training",
    "theory",
    "figures",
    "study",
    "teaching",
    "__main__",
)
"""From the ground up: a room imports from rooms below it, and from its own."""


def room(module: str) -> str:
    """Return the room of a module, such as ``layers.base``; ValueError if it is in none."""
    parts = module.split(".")
    for length in range(len(parts), 0, -1):
        if (name := ".".join(parts[:length])) in ROOMS:
            return name
    raise ValueError(f"{module} is in no room; give orthobook/{parts[0]} a place in ROOMS of scripts/draw_imports.py")


def imports(package: Path = PACKAGE) -> list[tuple[str, str]]:
    """Return all pairs (importing module, imported module) within a package, in dotted names without the package's."""
    modules = {_dotted(path.relative_to(package)): path for path in sorted(package.rglob("*.py"))}
    pairs = []
    for module, path in modules.items():
        if module:  # the package's face imports nothing before it is asked to
            pairs += [(module, target) for name in _imported(path) if (target := _module(name, modules))]
    return sorted(set(pairs))


def upward(pairs: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
    """Return the pairs that import from a room above their own."""
    return [(a, b) for a, b in pairs if ROOMS.index(room(a)) < ROOMS.index(room(b))]


def _dotted(path: Path) -> str:
    return ".".join(path.with_suffix("").parts).removesuffix("__init__").removesuffix(".")


def _imported(path: Path) -> Iterator[str]:
    """Yield the dotted names below ``orthobook.`` that a file imports, of modules or of what is in them."""
    nodes: list[ast.AST] = [ast.parse(path.read_text(encoding="utf-8"))]
    while nodes:
        node = nodes.pop()
        if isinstance(node, ast.If) and getattr(node.test, "id", "") == "TYPE_CHECKING":
            continue
        nodes += ast.iter_child_nodes(node)
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "orthobook":
            yield from (f"{node.module}.{alias.name}".partition(".")[2] for alias in node.names)
        elif isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[2] for alias in node.names if alias.name.startswith("orthobook."))


def _module(name: str, modules: dict[str, Path]) -> str:
    """Return the module that a dotted name is, or is in."""
    while name and name not in modules:
        name = name.rpartition(".")[0]
    return name


def drawing(pairs: Sequence[tuple[str, str]]) -> Figure:
    """Return the rooms in a column and an arc from each room to every room that it imports from."""
    floors = {name: floor for floor, name in enumerate(ROOMS)}
    arrows = sorted({(room(a), room(b)) for a, b in pairs} - {(name, name) for name in ROOMS})
    figure = Figure(figsize=(7, 7))
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(-8, 8), ylim=(-1, len(ROOMS)))
    axes.set_axis_off()
    for name, floor in floors.items():
        count = sum(room(module) == name for module in {module for pair in pairs for module in pair})
        axes.text(0, floor, f"{name} ({count})" if count > 1 else name, ha="center", va="center")
    for above, below in arrows:
        down = floors[above] > floors[below]
        ends = ((1.7 if down else -1.7, floors[name]) for name in (above, below))
        bend = f"arc3,rad={-0.45 if down else 0.45}"
        colour = "#0072b2" if down else "#d55e00"
        axes.add_patch(FancyArrowPatch(*ends, connectionstyle=bend, arrowstyle="->", mutation_scale=9, color=colour))
    return figure


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return 0 if all imports go downwards, otherwise 1."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--to", type=Path, default=ROOT / "_build" / "imports.svg", metavar="FILE")
    options = parser.parse_args(arguments)
    pairs = imports()
    for name in reversed(ROOMS):
        below = sorted({room(b) for a, b in pairs if room(a) == name} - {name}, key=ROOMS.index)
        print(f"{name:18} imports {', '.join(below) or 'no other'}")
    options.to.parent.mkdir(parents=True, exist_ok=True)
    drawing(pairs).savefig(options.to)
    print(f"drawn in {options.to}")
    for above, below in (wrong := upward(pairs)):
        print(f"upwards: {above} imports {below}")
    return int(bool(wrong))


if __name__ == "__main__":
    raise SystemExit(main())
