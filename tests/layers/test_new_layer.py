"""One class, one place: a block that is registered takes part in everything, with no other line changed."""

import ast
import os
import re
import subprocess
import sys
from pathlib import Path

TESTS = Path(__file__).parents[1]
SUITES = ["layers/test_base.py", "test_networks.py", "test_training.py", "theory/test_origami.py"]
# what it must take part in, by name, whatever else runs over it
EXPECTED = [
    "test_push_is_autograds_jacobian",  # its closed form
    "test_parameters_are_stacked_over_depth",
    "test_exact_at_any_depth_and_width",  # the isometry, to 1,000 layers
    "test_a_parameter_that_is_off_is_seen",
    "test_networks_never_stretch",
    "test_every_architecture_learns_in_every_mode",  # free, penalised, constrained
    "test_a_used_network_can_be_pickled",
    "test_cells_hold_the_network_s_own_map",  # its creases
]


def test_the_example_is_short():
    (block,) = (n for n in ast.parse((TESTS / "new_block.py").read_text()).body if isinstance(n, ast.ClassDef))
    assert block.end_lineno - block.decorator_list[0].lineno + 1 <= 20


def test_the_suites_run_over_a_new_block():
    command = [sys.executable, "-m", "pytest", "-p", "new_block", "-p", "no:cacheprovider", "-p", "no:xdist", "-v"]
    done = subprocess.run(
        [*command, "-k", "half-zigzag", *SUITES],
        cwd=TESTS,
        env=os.environ | {"PYTHONPATH": str(TESTS)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout
    passed = set(re.findall(r"::(\w+)\[[^\]]*half-zigzag[^\]]*\] PASSED", done.stdout))
    assert set(EXPECTED) <= passed
    assert " failed" not in done.stdout
