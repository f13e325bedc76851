"""Make the virtual environment .venv, or bring it up to date; say nothing when nothing is to be done.

    python scripts/prepare_environment.py

The environment holds the packages of requirements.txt and, as an editable installation, this repository's
package. Two stamp files in it record what it was made from, by content: touching a file changes nothing, and
an interrupted installation, which leaves no stamp, is done again.

    .venv/made-from-requirements   requirements.txt, the Python version, the folder: a change makes all anew
    .venv/made-from-pyproject      pyproject.toml: a change installs only this repository's package again

Nothing but the standard library is used, and no syntax newer than Python 3.6, so that an old Python too
prints the message of `check_python`.
"""

import hashlib
import os
import subprocess
import sys
import time

REQUIRED_PYTHON = (3, 11)
ENVIRONMENT = ".venv"


def main():
    """Prepare the environment in the repository's root folder, whatever folder this is called from."""
    check_python()
    os.chdir(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    python = os.path.join(ENVIRONMENT, "bin", "python")
    # All modules are compiled at the end, on all processors.
    install = [python, "-m", "pip", "--disable-pip-version-check", "--no-input", "install", "-qq", "--no-compile"]
    requirements_stamp = os.path.join(ENVIRONMENT, "made-from-requirements")
    package_stamp = os.path.join(ENVIRONMENT, "made-from-pyproject")

    requirements = digest("requirements.txt", sys.version, os.getcwd())
    if read(requirements_stamp) != requirements or not os.path.exists(python):
        start = time.time()
        print(f"Setting up {ENVIRONMENT} from requirements.txt (a few minutes, once) ...", flush=True)
        run(
            [sys.executable, "-m", "venv", "--clear", ENVIRONMENT],
            "A virtual environment cannot be made. On Debian and Ubuntu: apt install python3-venv",
        )
        complaint = "The packages of requirements.txt cannot be installed."
        # All versions are pinned, so there is nothing to resolve; what a platform needs besides, as torch does its
        # libraries for a GPU, is added after.
        run([*install, "--no-deps", "-r", "requirements.txt"], complaint)
        run([*install, "-r", "requirements.txt"], complaint)
        # Some packages hold templates that are no Python, which it reports; whoever imports nothing of them needs none.
        subprocess.call([python, "-m", "compileall", "-qq", "-j", "0", os.path.join(ENVIRONMENT, "lib")])
        quieten_kernels()
        write(requirements_stamp, requirements)
        print(f"Set up {ENVIRONMENT} in {time.time() - start:.0f} s.", flush=True)

    package = digest("pyproject.toml")
    if read(package_stamp) != package:
        options = ["--no-deps", "--no-build-isolation", "--force-reinstall"]
        run([*install, *options, "-e", "."], "The package orthobook cannot be installed.")
        write(package_stamp, package)


def check_python():
    """Leave with a message when this Python is too old for the pinned packages."""
    if sys.version_info < REQUIRED_PYTHON:
        required, found = (".".join(map(str, version[:2])) for version in (REQUIRED_PYTHON, sys.version_info))
        sys.exit(
            f"Python {required} or newer is needed, but {sys.executable} is Python {found}. "
            "Name another, for example: make book PYTHON=python3.12"
        )


def quieten_kernels():
    """Keep the kernels from warning, once per notebook, that they talk to their own machine over TCP."""
    folder = os.path.join(ENVIRONMENT, "etc", "ipython")
    os.makedirs(folder, exist_ok=True)
    write(os.path.join(folder, "ipython_kernel_config.py"), 'get_config().IPKernelApp.log_level = "ERROR"\n')


def digest(path, *more):
    """Return a hexadecimal digest of a file's content and of further strings."""
    with open(path, "rb") as file:
        content = file.read()
    return hashlib.sha256(b"\0".join([content, *(text.encode() for text in more)])).hexdigest()


def read(path):
    """Return a stamp file's text, or nothing when there is no such file."""
    if not os.path.exists(path):
        return ""
    with open(path) as file:
        return file.read()


def write(path, text):
    """Write a text file."""
    with open(path, "w") as file:
        file.write(text)


def run(command, complaint):
    """Run a command; leave with a message when it fails."""
    if subprocess.run(command).returncode:
        sys.exit(f"{complaint}\nThe command was: {' '.join(command)}")


if __name__ == "__main__":
    main()
