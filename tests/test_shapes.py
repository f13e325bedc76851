"""The shapes in signatures are true: the package runs with all of them checked."""

import os
import subprocess
import sys
from pathlib import Path


def run(*arguments):
    script = Path(__file__).with_name("shapes_run.py")
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(script.parent), os.environ.get("PYTHONPATH", "")])}
    return subprocess.run([sys.executable, script, *arguments], env=environment, capture_output=True, text=True)


def test_annotated_shapes_are_true():
    done = run()
    assert done.returncode == 0, done.stderr


def test_a_wrong_shape_is_found():
    done = run("--wrong")
    assert done.returncode != 0
    assert "jaxtyping.TypeCheckError" in done.stderr
