"""The chapters' normal form, and the traps that it closes."""

import copy
import subprocess
import sys
from pathlib import Path

import nbformat
import normalise_notebooks as notebooks
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

CHAPTERS = [*sorted(notebooks.BOOK.glob("*.ipynb")), notebooks.BOOK / "_template" / "chapter.ipynb"]


def colab_cell():
    return new_code_cell(notebooks.COLAB_CELL, id="colab", metadata={"tags": [notebooks.COLAB_TAG]})


def checked_cell(*lines, text="42\n"):
    outputs = [new_output("stream", name="stdout", text=text)] if text else []
    source = "\n".join([notebooks.CHECKED, *lines])
    return new_code_cell(source, id="check", outputs=outputs, execution_count=1 if text else None)


@pytest.fixture
def store(tmp_path):
    """Write a notebook of the Colab cell and the cells given, in normal form or as they are."""

    def store(*cells, normal=True, colab=True):
        notebook = new_notebook(cells=[colab_cell(), *cells] if colab else list(cells))
        if normal:
            notebook = notebooks.normalised(notebook)
        path = tmp_path / "chapter.ipynb"
        path.write_text(notebooks.written(notebook), encoding="utf-8")
        return path

    return store


def complaints(path, capsys):
    """Return what --check says about a notebook, having made sure that its exit status says the same."""
    status = notebooks.main(["--check", str(path)])
    said = capsys.readouterr().err
    assert status == (1 if said else 0)
    return said


@pytest.mark.parametrize("path", CHAPTERS, ids=lambda path: path.stem)
def test_chapter_is_in_order(path, capsys):
    assert complaints(path, capsys) == ""


def test_a_notebook_in_normal_form_passes(store, capsys):
    assert complaints(store(new_markdown_cell("# Title"), checked_cell("print(6 * 7)")), capsys) == ""


def test_normal_form_is_reached_in_one_step():
    random = new_code_cell("x = 1", execution_count=7, outputs=[new_output("stream", text="x")])
    untidy = new_notebook(metadata={"kernelspec": {"name": "mine", "display_name": "Mine"}, "widgets": {}})
    untidy.cells = [random, copy.deepcopy(random), new_markdown_cell(""), checked_cell("1")]
    once = notebooks.normalised(untidy)
    assert notebooks.normalised(once) == once
    nbformat.validate(once)


def test_normal_form_keeps_only_what_is_checked():
    drawn = new_output("display_data", data={"image/png": "AAAA"})
    metadata = {"tags": ["hide-input"], "mystnb": {"image": {"alt": "A line"}}, "collapsed": True}
    figure = new_code_cell("plot()", id="plot", execution_count=3, outputs=[drawn], metadata=metadata)
    result = notebooks.normalised(new_notebook(cells=[figure, checked_cell("print(42)")]))
    assert result.cells[0].outputs == []
    assert result.cells[0].execution_count is None
    assert set(result.cells[0].metadata) == {"tags", "mystnb"}
    assert result.cells[1].outputs[0].text == "42\n"
    assert result.cells[1].execution_count == 1
    assert result.metadata.kernelspec.name == "python3"


def test_identifiers_are_readable_unique_and_stay():
    cells = [
        new_markdown_cell("# Two slopes, no more", id="0a1b2c3d"),
        new_markdown_cell("## Proof", id="proof"),
        new_markdown_cell("## Another proof", id="proof"),
        new_markdown_cell("## Proof", id="6f1c4d1e-97cf-4a9a-8d7f-3f2a0c1b5e6d"),
        new_code_cell("", id="deadbeef"),
    ]
    expected = ["two-slopes-no-more", "proof", "another-proof", "proof-2", "code-5"]
    assert notebooks.identifiers(cells) == expected
    named = [cell | {"id": name} for cell, name in zip(cells, expected, strict=True)]
    assert notebooks.identifiers(named[::-1]) == expected[::-1]


def test_running_stores_checked_outputs_and_repeats_itself(store, capsys):
    path = store(
        new_code_cell("import os\nprint('not kept')"),
        checked_cell("print(6)\nprint(os.listdir())\n7", text=""),
    )
    assert "no stored output" in complaints(path, capsys)
    assert notebooks.main([str(path)]) == 0
    first = path.read_text(encoding="utf-8")
    stored = notebooks.read(path).cells
    assert stored[1].outputs == []
    # The folder in which a notebook runs is empty.
    assert [output.get("text") or output.data["text/plain"] for output in stored[2].outputs] == [
        "6\n[]\n",
        "7",
    ]
    assert notebooks.main([str(path)]) == 0
    assert path.read_text(encoding="utf-8") == first


def test_a_failing_cell_is_reported_and_the_file_left_alone(store, capsys):
    path = store(new_code_cell("1 / 0"))
    before = path.read_text(encoding="utf-8")
    assert notebooks.main([str(path)]) == 1
    assert "ZeroDivisionError" in capsys.readouterr().err
    assert path.read_text(encoding="utf-8") == before


image = new_output("display_data", data={"image/png": "AAAA", "text/plain": "<Figure>"})
table = new_output("execute_result", data={"text/html": "<b>1</b>", "text/plain": "1"}, execution_count=1)
warning = new_output("stream", name="stderr", text="UserWarning")
error = new_output("error", ename="ValueError", evalue="", traceback=[])


@pytest.mark.parametrize(
    ("output", "complaint"),
    [(image, "image/png"), (table, "text/html"), (warning, "stderr"), (error, "stored error")],
    ids=["image", "table", "warning", "error"],
)
def test_a_checked_output_must_be_text(store, capsys, output, complaint):
    cell = checked_cell("f()")
    cell.outputs = [output]
    said = complaints(store(cell), capsys)
    assert "cell 2 (check)" in said
    assert complaint in said


def test_a_checked_cell_without_output_is_found(store, capsys):
    assert "cell 2 (check) has no stored output" in complaints(store(checked_cell("print(1)", text="")), capsys)


def test_a_checked_cell_without_count_is_found(store, capsys):
    notebook = notebooks.read(store(checked_cell("print(42)")))
    notebook.cells[1].execution_count = None
    assert "cell 2 (check) has no stored output or no count" in complaints(
        store(*notebook.cells, normal=False, colab=False), capsys
    )


@pytest.mark.parametrize("text", ["σₙ below 1e-12: False\n", "False\n", "linear: True False\n", "a: False, b: True\n"])
def test_a_stored_false_is_found(store, capsys, text):
    said = complaints(store(checked_cell("f()", text="first: True\n" + text)), capsys)
    assert f"cell 2 (check) stores False in the line {text.strip()!r}" in said


def test_a_false_may_be_announced_by_the_beginning_of_its_line(store, capsys):
    lines = "zeros: True\n  ones, 1 %: False\nlast: False\n"
    announced = "# expected False: ones; last"
    assert complaints(store(checked_cell(announced, "f()", text=lines)), capsys) == ""
    apart = "# expected False: ones", "# expected False: last"
    assert complaints(store(checked_cell(*apart, "f()", text=lines)), capsys) == ""
    assert "in the line 'last: False'" in complaints(store(checked_cell(apart[0], "f()", text=lines)), capsys)
    assert "in the line 'ones, 1 %: False'" in complaints(
        store(checked_cell("# expected False: ; last", "f()", text=lines)), capsys
    )


def test_an_announced_false_must_be_there(store, capsys):
    cell = checked_cell("# expected False: zeros; ones", "f()", text="zeros: False\nones: True\nFalsehood\n")
    assert "expects False of 'ones', which is the beginning of no stored line" in complaints(store(cell), capsys)


@pytest.mark.parametrize("line", ["# NBVAL_SKIP", "x = 1\n# NBVAL_CHECK_OUTPUT", "#NBVAL_IGNORE_OUTPUT"])
def test_other_instructions_to_nbval_are_found(store, capsys, line):
    assert "an instruction to nbval" in complaints(store(new_code_cell(line + "\nprint(1)")), capsys)


def test_instructions_to_nbval_by_tag_are_found(store, capsys):
    cell = new_code_cell("print(1)", metadata={"tags": ["nbval-skip"]})
    assert "an instruction to nbval" in complaints(store(cell), capsys)


def test_long_cells_are_found(store, capsys):
    lines = ["# a comment", "", *["x = 1"] * notebooks.LONGEST_CELL]
    assert complaints(store(new_code_cell("\n".join(lines))), capsys) == ""
    assert "19 lines of code; at most 18" in complaints(store(new_code_cell("\n".join([*lines, "x"]))), capsys)


@pytest.mark.parametrize("first", [None, "import sys", notebooks.COLAB_CELL.replace("orthobook/", "other/")])
def test_the_colab_cell_comes_first(store, capsys, first):
    cells = [new_code_cell(first)] if first else [new_markdown_cell("only text")]
    assert "the first code cell is not the one" in complaints(store(*cells, colab=False), capsys)


def test_the_colab_cell_is_folded_away(store, capsys):
    untagged = new_code_cell(notebooks.COLAB_CELL, id="colab")
    assert "cell 1 (colab) lacks the tag 'hide-input'" in complaints(store(untagged, colab=False), capsys)


def test_a_file_not_in_normal_form_is_found(store, capsys):
    cell = new_code_cell("x = 1", execution_count=3)
    assert "not in normal form" in complaints(store(cell, normal=False), capsys)


def test_a_file_of_another_kind_is_reported(tmp_path, capsys):
    path = tmp_path / "chapter.ipynb"
    path.write_text("{}")
    assert "notebook format None; 4 is needed" in complaints(path, capsys)
    assert "FileNotFoundError" in complaints(tmp_path / "absent.ipynb", capsys)


def test_help_shows_examples(capsys):
    with pytest.raises(SystemExit) as exit_:
        notebooks.main(["--help"])
    assert exit_.value.code == 0
    assert "python scripts/normalise_notebooks.py --check" in capsys.readouterr().out


def test_the_script_runs_from_anywhere(tmp_path, store):
    script = Path(notebooks.__file__)
    path = store(checked_cell("print(42)"))
    result = subprocess.run([sys.executable, str(script), "--check", str(path)], cwd=tmp_path)
    assert result.returncode == 0
