"""The code that README.md and the reference page show runs as it stands."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
DOCUMENTS = ["README.md", "book/api.md"]


@pytest.mark.parametrize("document", DOCUMENTS)
def test_python_examples_run(document, tmp_path):
    blocks = re.findall(
        r"^```python\n(.*?)^```", (ROOT / document).read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE
    )
    assert blocks, f"{document} shows no Python"
    # One process, as a new one takes seconds to start; no block sees what another has defined.
    program = "".join(f"exec({block!r}, {{'__name__': '__main__'}})\n" for block in blocks)
    done = subprocess.run([sys.executable, "-W", "error", "-c", program], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
