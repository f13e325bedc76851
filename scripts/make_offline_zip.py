"""Pack the built book into one file to carry along: unpack it, open orthobook/index.html; no network is needed.

python scripts/make_offline_zip.py                       _build/html → _build/orthobook-offline.zip
python scripts/make_offline_zip.py --site S --to F.zip   another built book, another file
"""

from __future__ import annotations

import argparse
import sys
import zipfile
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LEFT_OUT = {".buildinfo", "objects.inv"}  # only for Sphinx itself


def pack(site: Path, target: Path) -> int:
    """Write the files of a built book to a zip file, below the folder orthobook; return how many."""
    files = sorted(path for path in site.rglob("*") if path.is_file() and path.name not in LEFT_OUT)
    target.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in files:
            archive.write(path, Path("orthobook", path.relative_to(site)).as_posix())
    return len(files)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--site", type=Path, default=ROOT / "_build" / "html", metavar="FOLDER", help="the built book")
    parser.add_argument("--to", type=Path, default=ROOT / "_build" / "orthobook-offline.zip", metavar="FILE")
    options = parser.parse_args(arguments)
    if not (options.site / "index.html").exists():
        parser.error(f"there is no built book at {options.site}: run `make book` first")
    count = pack(options.site, options.to)
    print(f"{options.to}: {count} files, {options.to.stat().st_size / 2**20:.1f} MiB; open orthobook/index.html in it")
    return 0


if __name__ == "__main__":
    sys.exit(main())
