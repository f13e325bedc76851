"""Run the benchmarks that a store lacks at the sizes that the book shows: about half an hour on two idle cores."""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

FOLDER = Path(__file__).resolve().parent
STORE = FOLDER.parent / "_build" / "benchmarks.jsonl"

# Fewer rounds where a step is longer.
SUITE = (
    "training_step.py --width 64 --depth 100 --batch 128",
    "training_step.py --width 32 --depth 100 --batch 128",
    "training_step.py --width 128 --depth 100 --batch 128 --repetitions 10",
    "training_step.py --width 256 --depth 100 --batch 128 --repetitions 3",
    "training_step.py --width 64 --depth 10 --batch 128",
    "training_step.py --width 64 --depth 1000 --batch 128 --repetitions 2",
    "training_step.py --width 64 --depth 100 --batch 32",
    "training_step.py --width 64 --depth 100 --batch 1024 --repetitions 5",
    "jacobian.py",
    "depth.py",
    "initialisation.py",
    "precision.py",
    "compiled.py",
    "startup.py",
    "architectures.py --repetitions 10",
    "ten_thousand_layers.py",
)


def main() -> int:
    """Run what was chosen, one after another; a script that fails does not keep the next from running."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    options.add_argument("only", nargs="*", help="names of scripts, as training_step.py; all if none is given")
    options.add_argument("--store", type=Path, default=STORE, help="store to which the tables are added")
    arguments = options.parse_args()
    scripts = {line.split()[0] for line in SUITE}
    if unknown := set(arguments.only) - scripts:
        options.error(f"no benchmark {', '.join(sorted(unknown))}; there are: {', '.join(sorted(scripts))}")
    arguments.store.parent.mkdir(parents=True, exist_ok=True)
    failed = []
    for line in SUITE:
        script, *rest = line.split()
        if arguments.only and script not in arguments.only:
            continue
        print(f"== benchmarks/{line}", flush=True)
        command = [sys.executable, str(FOLDER / script), *rest, "--store", str(arguments.store)]
        if subprocess.run(command).returncode:
            failed.append(line)
    print(f"The tables are stored in {arguments.store}.")
    if failed:
        print("Failed: " + "; ".join(failed), file=sys.stderr)
    return bool(failed)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit("Stopped; what had ended before is stored.")
