"""The digest of the sources, and that stored results outlive a change of them."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from small_runs import environment

import orthobook as ob
from orthobook.study import claims, source

PACKAGE = Path(ob.__file__).parent


@pytest.fixture
def copy(tmp_path):
    """Return the folder of a copy of the package."""
    shutil.copytree(PACKAGE, tmp_path / "orthobook", ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path / "orthobook"


def digest(folder):
    return source.digest(folder, folder.rglob("*.py"))


def test_the_digest_is_that_of_names_and_contents(copy):
    assert digest(copy) == digest(PACKAGE) == source.package_digest()
    with (copy / "study" / "results.jsonl").open("a") as file:
        file.write("a new result is no new source")
    assert digest(copy) == source.package_digest()
    file = copy / "orthogonal.py"
    text = file.read_text(encoding="utf-8")
    file.write_text(text + "\n", encoding="utf-8")
    assert digest(copy) != source.package_digest()
    file.rename(copy / "another.py").write_text(text, encoding="utf-8")
    assert digest(copy) != source.package_digest()
    assert source.digest(copy, [], beside="one") != source.digest(copy, [], beside="other")


@pytest.mark.parametrize(
    ("file", "before", "added", "shown"),
    [
        ("study/run.py", "    seed: int = 0  #", '    optimiser: str = "adam"\n', "optimiser='adam'"),
        ("layers/feedforward.py", "    threshold: float = 3.0\n", "    gain: float = 1.0\n", "'gain': 1.0"),
    ],
    ids=["field of a run", "option of a layer"],
)
def test_stored_results_outlive_a_new(file, before, added, shown, copy):
    """What was stored has the default of what was added later: all verdicts and numbers are the same."""
    text = (copy / file).read_text(encoding="utf-8")
    assert before in text
    (copy / file).write_text(text.replace(before, added + before, 1), encoding="utf-8")
    made = python(copy, "-c", "from orthobook.study.run import Run; print(Run(architecture='shifted-fold', depth=1))")
    assert shown in made
    assert python(copy, "-m", "orthobook", "results", "claims") == claims.markdown(claims.findings()) + "\n"


def python(package, *words):
    """Return what Python prints that imports a copy of the package."""
    paths = os.pathsep.join((str(package.parent), environment()["PYTHONPATH"]))
    settings = {"env": environment() | {"PYTHONPATH": paths}, "cwd": package.parent, "capture_output": True}
    done = subprocess.run([sys.executable, *words], **settings)
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout.decode()
