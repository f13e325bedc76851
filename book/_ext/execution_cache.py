"""Run the chapters side by side, and keep their outputs for as long as what they came from stays the same.

The cache of executed notebooks knows a chapter by the code in its cells alone; it would serve old outputs
after a change of the package. So its folder is named after a digest of everything else that an output depends
on: the package with its data, the pinned environment, and Python itself. A change of any of them makes every
chapter run again, and the folders of earlier digests are removed.

Sphinx reads one page after the other and would run each chapter as it comes to it. So those that are not in the cache
are run before, as many at a time as there are processors. One that fails is left for Sphinx to run again and report.
"""

from __future__ import annotations

import logging
import shutil
import sys
from pathlib import Path

from jupyter_cache import get_cache
from jupyter_cache.executors import load_executor
from myst_nb.sphinx_ import NbMetadataCollector, SphinxEnvType
from sphinx.application import Sphinx
from sphinx.config import Config
from sphinx.environment import BuildEnvironment
from sphinx.util import logging as sphinx_logging

from orthobook.study import source

logger = sphinx_logging.getLogger(__name__)


def digest(root: Path) -> str:
    """Return a hexadecimal digest of what the chapters' outputs depend on beside their own cells.

    Parameters
    ----------
    root : pathlib.Path
        The repository's root folder.

    Returns
    -------
    str
        16 hexadecimal digits.
    """
    package = [path for path in (root / "orthobook").rglob("*") if path.is_file() and "__pycache__" not in path.parts]
    return source.digest(root, [root / "requirements.txt", *package], beside=sys.version)


def choose_folder(app: Sphinx, config: Config) -> None:
    """Point the cache at the folder of the present digest, and remove the others.

    Sphinx itself reads every page again when this setting differs from that of the last build.
    """
    caches = Path(app.outdir).parent / "execution"
    present = caches / digest(Path(app.srcdir))
    present.mkdir(parents=True, exist_ok=True)
    for folder in caches.iterdir():
        if folder != present:
            shutil.rmtree(folder)
    config.nb_execution_cache_path = str(present)


def run_side_by_side(app: Sphinx, env: BuildEnvironment, pages: list[str]) -> None:
    """Run those of the pages to be read that are chapters and not in the cache, and put them there."""
    if app.config.nb_execution_mode != "cache":
        return
    cache = get_cache(app.config.nb_execution_cache_path)
    chapters = [path for page in pages if (path := Path(env.doc2path(page))).suffix == ".ipynb"]
    for chapter in chapters:
        cache.add_nb_to_project(str(chapter))
    logger.info("running the chapters that are not in the cache ...")
    quiet = logging.getLogger("jupyter_cache")
    quiet.setLevel(logging.WARNING)  # or else every process announces its end
    executor = load_executor("temp-parallel", cache, quiet)
    executor.run_and_cache(filter_uris=[str(path) for path in chapters], timeout=app.config.nb_execution_timeout)


def failed_chapters(app: Sphinx, env: SphinxEnvType, *changes: set[str]) -> list[str]:
    """Return the chapters whose last execution failed, so that an unchanged rebuild reports them again."""
    chapters = NbMetadataCollector.get_doc_data(env)
    records = {chapter: NbMetadataCollector.get_exec_data(env, chapter) for chapter in chapters}
    return [chapter for chapter, record in records.items() if record and not record["succeeded"]]


def setup(app: Sphinx) -> dict[str, bool]:
    """Register with Sphinx."""
    app.connect("config-inited", choose_folder)
    app.connect("env-get-outdated", failed_chapters)
    app.connect("env-before-read-docs", run_side_by_side)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
