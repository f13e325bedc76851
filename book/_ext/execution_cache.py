"""Take the chapters' outputs from the cache, and run those that are not in it, side by side.

Sphinx reads one page after the other and would run each chapter as it comes to it. So those that are not in the cache
are run before, as many at a time as there are processors. One that fails is left for Sphinx to run again and report.
"""

from __future__ import annotations

import multiprocessing
import shutil
import sys
from pathlib import Path
from typing import NamedTuple

from jupyter_cache import get_cache
from jupyter_cache.executors.basic import ExecutionWorkerTempMProc, ProcessData
from myst_nb.sphinx_ import NbMetadataCollector, SphinxEnvType
from sphinx.application import Sphinx
from sphinx.config import Config
from sphinx.environment import BuildEnvironment

import chapter_cache

# They are started first, so that no processor waits at the end for one of them.
LONGEST = ["random-matrix-theory", "convolutions", "new-designs", "nearly-orthogonal", "going-deep"]


def choose_folder(app: Sphinx, config: Config) -> None:
    """Point the cache at the folder of the present digest, and remove the others.

    Sphinx itself reads every page again when this setting differs from that of the last build.
    """
    present = chapter_cache.folder(Path(app.srcdir))
    for folder in present.parent.iterdir():
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
    missing = cache.list_unexecuted(filter_uris=[str(path) for path in chapters])
    missing.sort(key=lambda record: rank(Path(record.uri).stem))
    jobs = [
        Job(number, len(missing), ProcessData(record.pk, record.uri, cache, app.config.nb_execution_timeout, False))
        for number, record in enumerate(missing, start=1)
    ]
    with multiprocessing.Pool() as pool:
        pool.map(run, jobs, chunksize=1)


def rank(chapter: str) -> int:
    """Return a chapter's place in the order of starting."""
    return LONGEST.index(chapter) if chapter in LONGEST else len(LONGEST)


class Job(NamedTuple):
    """A chapter to be run."""

    number: int
    total: int
    data: ProcessData


def run(job: Job) -> None:
    """Run a chapter and store it; say so, as a build is silent otherwise and this takes minutes."""
    line = f"running chapter {job.number} of {job.total}: {Path(job.data.uri).stem}\n"
    sys.stdout.write(line)  # in one piece, as others write beside it
    sys.stdout.flush()
    ExecutionWorkerTempMProc()(job.data)


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
