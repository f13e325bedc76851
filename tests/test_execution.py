"""How chapters are run as tests: errors, differences and time limits are found, and the build gets what was run."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import chapter_cache
import nbformat
import pytest
from jupyter_cache import get_cache
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output
from test_solutions import SOLVED

ROOT = Path(__file__).resolve().parents[1]

PRINTS = "# NBVAL_CHECK_OUTPUT\nimport os\nprint(6 * 7, os.listdir(), os.environ['ORTHOBOOK_BUILD'])"


def printing(*texts):
    return new_code_cell(
        PRINTS, execution_count=1, outputs=[new_output("stream", name="stdout", text=t) for t in texts]
    )


CHAPTERS = {
    "good": [new_markdown_cell(SOLVED), new_code_cell("x = 1"), printing("42 [] 1\n"), new_code_cell("x")],
    "different": [printing("43 [] 1\n"), printing()],
    "wrong": [new_code_cell("1 / 0"), new_code_cell("print('after it')")],
    "slow": [new_code_cell("import time\ntime.sleep(60)"), new_code_cell("print('after it')")],
}


@pytest.fixture(scope="module")
def tested(tmp_path_factory):
    """A small book whose chapters have been tested: its folder, and what pytest said."""
    root = tmp_path_factory.mktemp("repository")
    (root / "book").mkdir()
    (root / "orthobook").mkdir()
    (root / "requirements.txt").touch()
    shutil.copy(ROOT / "book" / "conftest.py", root / "book")
    for name, cells in CHAPTERS.items():
        notebook = new_notebook(cells=cells, metadata={"execution": {"timeout": 1}} if name == "slow" else {})
        nbformat.write(notebook, root / "book" / f"{name}.ipynb")
    modules = f"pythonpath={ROOT / 'scripts'} {ROOT / 'book' / '_ext'}"
    options = ["-p", "no:cacheprovider", "-p", "no:xdist", "-v", "--rootdir", str(root), "-o", modules]
    done = subprocess.run([sys.executable, "-m", "pytest", *options, "book"], cwd=root, capture_output=True, text=True)
    return root, done.stdout + done.stderr


def outcomes(said, name):
    return re.findall(rf"^book/{name}\W+ipynb::(.*?) ([A-Z]+) ", said, re.MULTILINE)


def test_solutions_run_after_the_chapter_in_its_kernel(tested):
    cells = [("Cell 0", "PASSED"), ("Cell 1", "PASSED"), ("Cell 2", "PASSED")]
    assert outcomes(tested[1], "good") == [*cells, ("Solution 0", "PASSED"), ("Solution 1", "FAILED")]
    assert "assert x == 2" in tested[1]


def test_a_difference_from_the_stored_output_is_found(tested):
    assert outcomes(tested[1], "different") == [("Cell 0", "FAILED"), ("Cell 1", "FAILED")]
    assert "Cell outputs differ" in tested[1]


def test_an_error_is_found_and_the_next_cells_are_run(tested):
    assert outcomes(tested[1], "wrong") == [("Cell 0", "FAILED"), ("Cell 1", "PASSED")]
    assert "ZeroDivisionError" in tested[1]


def test_after_a_cell_that_takes_too_long_nothing_is_run(tested):
    assert outcomes(tested[1], "slow") == [("Cell 0", "FAILED"), ("Cell 1", "FAILED")]
    assert "Cell 1: The cell did not end: A cell timed out" in tested[1]


def test_the_build_finds_the_chapters_that_have_run_and_not_their_solutions(tested):
    (folder,) = (tested[0] / "_build" / "execution").iterdir()
    cache = get_cache(folder)
    assert {Path(record.uri).stem for record in cache.list_cache_records()} == {"good", "different"}
    chapter = nbformat.read(tested[0] / "book" / "good.ipynb", as_version=4)
    _, merged = cache.merge_match_into_notebook(chapter)
    assert [cell.source for cell in merged.cells] == [cell.source for cell in chapter.cells]
    assert [cell.get("execution_count") for cell in merged.cells] == [None, 1, 2, 3]
    assert merged.cells[2].outputs[0].text == "42 [] 1\n"
    assert json.dumps(merged.cells[3].outputs[0].data) == '{"text/plain": "1"}'


BUILD = """
import sys
from pathlib import Path
from types import SimpleNamespace
import chapter_cache, execution_cache
root = Path(sys.argv[1])
config = SimpleNamespace(nb_execution_mode="cache", nb_execution_timeout=300)
app = SimpleNamespace(config=config, srcdir=root)
execution_cache.choose_folder(app, config)
env = SimpleNamespace(doc2path=lambda page: root / "book" / f"{page}.ipynb")
execution_cache.run_side_by_side(app, env, ["good", "different"])
"""


def executed(root):
    (folder,) = (root / "_build" / "execution").iterdir()
    return {path.parent.name: path.read_text(encoding="utf-8") for path in folder.glob("executed/*/base.ipynb")}


def build(root):
    modules = os.environ | {"PYTHONPATH": str(ROOT / "book" / "_ext"), "ORTHOBOOK_BUILD": "1"}
    command = [sys.executable, "-c", BUILD, str(root)]
    return subprocess.run(command, env=modules, capture_output=True, text=True, check=True).stdout


def test_the_build_leaves_what_the_tests_leave_and_runs_nothing_after_them(tested, tmp_path):
    left = executed(tested[0])
    assert build(tested[0]) == ""
    assert executed(tested[0]) == left
    shutil.copytree(tested[0], tmp_path, ignore=shutil.ignore_patterns("_build"), dirs_exist_ok=True)
    said = [f"running chapter {number} of 2: {name}" for number, name in enumerate(["good", "different"], start=1)]
    assert sorted(build(tmp_path).splitlines()) == said
    assert executed(tmp_path) == left


def test_a_change_of_the_package_makes_the_cache_another(tmp_path):
    (tmp_path / "orthobook" / "__pycache__").mkdir(parents=True)
    (tmp_path / "requirements.txt").touch()
    first = chapter_cache.digest(tmp_path)
    (tmp_path / "orthobook" / "__pycache__" / "layers.pyc").touch()
    (tmp_path / "README.md").touch()
    assert chapter_cache.digest(tmp_path) == first
    (tmp_path / "orthobook" / "layers.py").touch()
    second = chapter_cache.digest(tmp_path)
    (tmp_path / "requirements.txt").write_text("torch")
    assert len({first, second, chapter_cache.digest(tmp_path)}) == 3
