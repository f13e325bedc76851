"""Run chapters as a student does, each in an empty folder and with whatever versions are installed.

    python scripts/run_chapters.py                  all
    python scripts/run_chapters.py one-layer        one

Those that fail are reported. Nothing is written, and what a cell prints is not compared.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence

import normalise_notebooks as notebooks
from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return 0 when every chapter ran to its end, otherwise 1."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("chapters", nargs="*", metavar="CHAPTER", help="names of chapters (default: all)")
    options = parser.parse_args(arguments)
    found = {path.stem: path for path in sorted(notebooks.BOOK.glob("*.ipynb"))}
    unknown = [name for name in options.chapters if name not in found]
    if unknown:
        parser.error(f"no chapter is called {', '.join(unknown)}; there are {', '.join(found)}")
    failed = []
    for name in options.chapters or found:
        start = time.monotonic()
        print(f"{name} ...", end=" ", flush=True)
        try:
            notebooks.run(notebooks.read(found[name]))
            print(f"{time.monotonic() - start:.0f} s")
        except (CellExecutionError, CellTimeoutError, DeadKernelError) as error:
            failed.append(name)
            print(f"failed\n{error}")
    print(f"{len(failed)} failed{': ' + ', '.join(failed) if failed else ''}")
    return int(bool(failed))


if __name__ == "__main__":
    sys.exit(main())
