"""The package's rooms: few names, imports in one direction, and nothing loaded before it is asked for."""

import ast
import subprocess
import sys

import draw_imports
import pytest
from chapters import ROOT

import orthobook as ob

FEW = 15


def test_the_package_is_seen_at_a_glance():
    listed = subprocess.run(["git", "ls-files", "orthobook"], cwd=ROOT, capture_output=True, text=True, check=True)
    names = {line.split("/")[1] for line in listed.stdout.splitlines()}
    assert len(names) <= FEW, sorted(names)


def test_imports_go_one_way():
    pairs = draw_imports.imports()
    assert len(pairs) > 100
    assert draw_imports.upward(pairs) == []


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("from orthobook.networks import build\n", [("layers.base", "networks")]),
        ("def late():\n    import orthobook.study.claims\n", [("layers.base", "study.claims")]),
        ("from orthobook import training\n", [("layers.base", "training")]),
        ("from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from orthobook.networks import build\n", []),
        ("from orthobook.orthogonal import haar\n", []),
    ],
)
def test_an_import_upwards_is_found(source, found, tmp_path):
    for name in ("orthogonal", "networks", "training", "study/claims", "layers/base"):
        path = tmp_path / f"{name}.py"
        path.parent.mkdir(exist_ok=True)
        path.write_text(source if name == "layers/base" else "", encoding="utf-8")
    assert draw_imports.upward(draw_imports.imports(tmp_path)) == found


def test_a_file_without_a_place_is_named():
    with pytest.raises(ValueError, match=r"attic\.box is in no room; give orthobook/attic a place"):
        draw_imports.room("attic.box")


def test_the_command_draws(tmp_path, capsys):
    assert draw_imports.main(["--to", str(tmp_path / "imports.svg")]) == 0
    assert "layers             imports _checks, orthogonal" in capsys.readouterr().out
    assert "<svg" in (tmp_path / "imports.svg").read_text(encoding="utf-8")


LIGHT = """
import sys
import orthobook as ob
assert not {"torch", "numpy"} & set(sys.modules), "the face"
ob.build, ob.Trunk, ob.train, ob.load, ob.singular_values
heavy = {"scipy", "matplotlib", "altair", "ipywidgets", "pandas", "dask", "orthobook.theory.spectra"}
assert not heavy & set(sys.modules), heavy & set(sys.modules)
"""


def test_nothing_heavy_is_loaded_before_it_is_asked_for():
    subprocess.run([sys.executable, "-W", "error", "-c", LIGHT], check=True)


def test_type_checkers_see_the_names_that_are_loaded():
    tree = ast.parse((ROOT / "orthobook" / "__init__.py").read_text(encoding="utf-8"))
    (block,) = (node for node in tree.body if isinstance(node, ast.If))
    seen = {(node.module.partition(".")[2], alias.name) for node in block.body for alias in node.names}
    assert seen == {(home, name) for home, names in ob._HOMES.items() for name in names}
    assert all(getattr(ob, name).__name__ == name for name in ob.__all__)
    with pytest.raises(AttributeError, match="module 'orthobook' has no attribute 'biuld'"):
        ob.biuld  # noqa: B018
