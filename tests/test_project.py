"""What must agree between files: addresses, versions, the table of contents, and what a wheel contains."""

import ast
import importlib.metadata
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import chapters
import normalise_notebooks as notebooks
import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import orthobook

ROOT = Path(__file__).resolve().parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
REPOSITORY = PROJECT["project"]["urls"]["Repository"]
ADDRESS = re.compile(r"(?:https?://)?(?:www\.)?github\.com/[\w.-]+/orthobook[\w-]*", re.IGNORECASE)


def pins():
    """Return the pinned version of each package in requirements.txt."""
    lines = (ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines()
    found = [Requirement(line) for line in lines if line and not line.startswith("#")]
    names = [canonicalize_name(pin.name) for pin in found]
    assert len(names) == len(set(names)), "a package is pinned twice"
    return dict(zip(names, found, strict=True))


def project_files():
    """Return the files of the project as git knows them, or all outside ignored folders where there is no git."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True)
    if listed.returncode == 0:
        return [ROOT / name for name in listed.stdout.split("\0") if name]
    ignored = {".git", ".venv", "_build", "build", "dist", "__pycache__"}
    return [path for path in ROOT.rglob("*") if path.is_file() and not ignored & set(path.parts)]


def misplaced(text):
    """Return the addresses in a text that name another repository of ours than the one in pyproject.toml."""
    return [address for address in ADDRESS.findall(text) if address != REPOSITORY]


def test_every_mention_of_the_repository_is_its_address():
    texts = {path: path.read_bytes().decode("utf-8", errors="replace") for path in project_files() if path.exists()}
    wrong = {str(path.relative_to(ROOT)): misplaced(text) for path, text in texts.items() if misplaced(text)}
    wrong.pop("tests/test_project.py", None)
    assert wrong == {}
    assert any(REPOSITORY in text for text in texts.values())


@pytest.mark.parametrize(
    "text",
    ["http://github.com/orthobook/orthobook", "github.com/someone/orthobook", "https://github.com/a/orthobook-book"],
)
def test_another_address_would_be_found(text):
    assert misplaced(f"see {text}.") == [text]
    assert misplaced(f"see {REPOSITORY}/blob/main/LICENSE, {REPOSITORY}.git@main") == []


def test_the_book_names_the_repository():
    configuration = yaml.safe_load((ROOT / "_config.yml").read_text(encoding="utf-8"))
    assert configuration["repository"]["url"] == REPOSITORY
    branch = configuration["repository"]["branch"]
    assert f'"orthobook[book] @ git+{REPOSITORY}@{branch}"' in notebooks.COLAB_CELL


def test_the_citation_agrees_with_the_package():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation["version"] == PROJECT["project"]["version"]
    assert citation["repository-code"] == REPOSITORY
    assert [author["name"] for author in citation["authors"]] == [a["name"] for a in PROJECT["project"]["authors"]]
    assert citation["license"][0] == PROJECT["project"]["license"]


def test_the_table_of_contents_lists_every_page_once():
    listed = [name for names in chapters.pages().values() for name in names]
    there = [path.stem for suffix in ("ipynb", "md") for path in (ROOT / "book").glob(f"*.{suffix}")]
    assert sorted(listed) == sorted(there)


def test_pins_satisfy_the_package_s_ranges():
    pinned = pins()
    needed = PROJECT["project"]["dependencies"] + PROJECT["build-system"]["requires"]
    needed += [line for extra in PROJECT["project"]["optional-dependencies"].values() for line in extra]
    assert len(needed) == 15
    for requirement in map(Requirement, needed):
        (exact,) = pinned[canonicalize_name(requirement.name)].specifier
        assert exact.operator == "=="
        assert requirement.specifier.contains(exact.version), f"{requirement} excludes the pinned {exact.version}"


def test_the_package_s_ranges_leave_an_installed_torch_in_place():
    for requirement in map(Requirement, PROJECT["project"]["dependencies"]):
        assert {bound.operator for bound in requirement.specifier} == {">="}, f"{requirement} is not a lower bound"


def imported_modules(source):
    """Return the modules that importing a file imports: not those that only one of its functions asks for."""
    nodes = ast.parse(source).body
    names = [alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names]
    names += [node.module for node in nodes if isinstance(node, ast.ImportFrom)]
    return {name.partition(".")[0] for name in names}


def test_the_package_s_imports_are_its_dependencies():
    sources = [path.read_text(encoding="utf-8") for path in (ROOT / "orthobook").rglob("*.py")]
    imported = set().union(*map(imported_modules, sources)) - {*sys.stdlib_module_names, "orthobook"}
    assert "torch" in imported
    packages = {{"PIL": "pillow"}.get(module, module) for module in imported}
    project = PROJECT["project"]
    known = project["dependencies"] + project["optional-dependencies"]["book"]
    assert packages <= {Requirement(line).name for line in known}


def test_everything_is_pinned_exactly_and_nothing_unpinned_is_needed():
    pinned = pins()
    for name, pin in pinned.items():
        assert [bound.operator for bound in pin.specifier] == ["=="], f"{pin} is not exact"
        for line in importlib.metadata.distribution(name).requires or []:
            requirement = Requirement(line)
            # Torch's libraries for accelerators, and what one system alone needs, go with the machine.
            is_accelerator = re.match("nvidia|cuda|triton", requirement.name)
            marker = requirement.marker
            if is_accelerator or (marker and ("platform" in str(marker) or not marker.evaluate({"extra": ""}))):
                continue
            assert canonicalize_name(requirement.name) in pinned, f"{name} needs {requirement}, which is not pinned"


def test_this_environment_has_the_pinned_versions():
    for name, pin in pins().items():
        installed = importlib.metadata.version(name)
        assert pin.specifier.contains(installed), f"{name} {installed} is installed, {pin} is pinned"


def test_versions_agree():
    assert orthobook.__version__ == PROJECT["project"]["version"]
    assert importlib.metadata.version("orthobook") == orthobook.__version__


def test_a_wheel_contains_the_whole_package(tmp_path):
    # From a copy, as setuptools leaves its traces in the folder it builds from.
    source = tmp_path / "source"
    shutil.copytree(ROOT / "orthobook", source / "orthobook", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source / name)
    pip = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-build-isolation", "--no-deps", "--no-index"]
    subprocess.run([*pip, "--wheel-dir", str(tmp_path), str(source)], check=True)
    (wheel,) = tmp_path.glob("orthobook-*.whl")
    expected = {path.relative_to(source).as_posix() for path in (source / "orthobook").rglob("*") if path.is_file()}
    contained = set(zipfile.ZipFile(wheel).namelist())
    assert {name for name in contained if name.startswith("orthobook/")} == expected
    assert any(name.startswith("orthobook/data/") for name in contained)
    assert any(name.endswith("/licenses/LICENSE") for name in contained)


@pytest.mark.parametrize("workflow", sorted((ROOT / ".github" / "workflows").glob("*.yml")), ids=lambda path: path.stem)
def test_workflows_are_valid(workflow):
    command = ["check_jsonschema", "--builtin-schema", "vendor.github-workflows", str(workflow)]
    done = subprocess.run([sys.executable, "-m", *command], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_wrong_workflow_is_found(tmp_path):
    wrong = tmp_path / "wrong.yml"
    wrong.write_text("on: push\njobs:\n  one:\n    steps: []\n")
    command = ["check_jsonschema", "--builtin-schema", "vendor.github-workflows", str(wrong)]
    assert subprocess.run([sys.executable, "-m", *command], capture_output=True).returncode == 1


def test_workflows_run_commands_that_exist():
    text = "\n".join(path.read_text(encoding="utf-8") for path in (ROOT / ".github" / "workflows").glob("*.yml"))
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    assert {"test", "book"} <= set(targets)
    assert set(re.findall(r"\bmake ([a-z-]+)", text)) <= set(targets)
    assert all((ROOT / script).exists() for script in re.findall(r"(?:bash|python) ([\w./]+)", text))
