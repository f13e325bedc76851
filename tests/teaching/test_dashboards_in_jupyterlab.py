"""The dashboards as a student meets them: in JupyterLab, with a kernel, driven by a browser.

Once with the pinned ipywidgets, and once with version 7.7, which is the oldest that the package allows and Colab's.
"""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path

import nbformat
import pytest
from nbformat import NotebookNode
from playwright.sync_api import Locator

CHAPTER = Path(__file__).parents[2] / "book" / "going-deep.ipynb"
LIMIT = 180  # seconds to wait for a condition, on a slow and busy machine too

# ipywidgets 7.7 with the front end that pip chooses for it, which is one for JupyterLab 3 and 4
OLD_WIDGETS = (
    "ipywidgets==7.7.5",
    "jupyterlab-widgets==1.1.11",
    "widgetsnbextension==3.6.10",
    "ipython-genutils==0.2.0",
)
# It takes the MathJax that JupyterLab loads for formulas for version 2, and complains for each control's name.
OLD_COMPLAINT = "Cannot read properties of undefined (reading 'Queue')"


@pytest.fixture(scope="module", params=["8", "7.7"])
def widgets(request, tmp_path_factory):
    """A version of ipywidgets, and what puts it before the pinned one in JupyterLab's environment and its kernel's."""
    if request.param == "8":
        return request.param, {}
    folder = tmp_path_factory.mktemp("ipywidgets")
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(folder), *OLD_WIDGETS]
    subprocess.run(pip, check=True)
    modules = os.pathsep.join([str(folder), *filter(None, [os.environ.get("PYTHONPATH")])])
    return request.param, {"PYTHONPATH": modules, "JUPYTER_PATH": str(folder / "share" / "jupyter")}


@pytest.fixture(scope="module")
def lab(widgets, tmp_path_factory):
    """The address of a JupyterLab of its own, untouched by the user's settings, and the folder that it serves."""
    root, own = tmp_path_factory.mktemp("notebooks"), tmp_path_factory.mktemp("jupyter")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    folders = ("CONFIG_DIR", "DATA_DIR", "RUNTIME_DIR")
    environment = os.environ | {f"JUPYTER_{folder}": str(own / folder.lower()) for folder in folders}
    environment |= {"JUPYTERLAB_SETTINGS_DIR": str(own / "settings"), "JUPYTERLAB_WORKSPACES_DIR": str(own / "spaces")}
    environment |= widgets[1]
    options = ["--no-browser", "--allow-root", f"--port={port}", "--ServerApp.ip=127.0.0.1"]
    options += ["--IdentityProvider.token=", "--ServerApp.disable_check_xsrf=True"]
    options += ["--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate", "--LabApp.news_url="]
    with (own / "log").open("w") as log:
        command = [sys.executable, "-m", "jupyterlab", *options, f"--ServerApp.root_dir={root}"]
        server = subprocess.Popen(command, env=environment, stdout=log, stderr=subprocess.STDOUT)
    address = f"http://127.0.0.1:{port}"
    try:
        until(lambda: answers(address) or server.poll() is not None)
        assert server.poll() is None, (own / "log").read_text()
        yield address, root
    finally:
        server.terminate()
        server.wait(60)


def answers(address: str) -> bool:
    try:
        return urllib.request.urlopen(f"{address}/api").status == 200
    except OSError:
        return False


def until(condition: Callable[[], bool]) -> None:
    """Wait for a condition; the limit is for what hangs."""
    end = time.monotonic() + LIMIT
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.1)


def kernels(address: str) -> list[str]:
    """What the kernels are doing; nothing while one is about to go, when the server may have no answer."""
    try:
        with urllib.request.urlopen(f"{address}/api/kernels") as answer:
            return [kernel["execution_state"] for kernel in json.load(answer)]
    except urllib.error.HTTPError:
        return []


class Notebook:
    """A notebook of given cells in a browser's JupyterLab."""

    def __init__(self, browser, lab, *cells: str | NotebookNode) -> None:
        address, root = lab
        code = [cell if isinstance(cell, NotebookNode) else nbformat.v4.new_code_cell(cell) for cell in cells]
        notebook = nbformat.v4.new_notebook(cells=code)
        notebook.metadata.kernelspec = {"name": "python3", "display_name": "Python 3", "language": "python"}
        nbformat.write(notebook, root / "dashboard.ipynb")
        self.address = address
        self.context = browser.new_context(viewport={"width": 1280, "height": 1400})
        self.page = self.context.new_page()
        self.page.set_default_timeout(1000 * LIMIT)
        self.errors: list[str] = []
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.goto(f"{address}/doc/tree/dashboard.ipynb?reset")
        self.page.locator(".jp-CodeCell").nth(len(cells) - 1).wait_for()
        until(lambda: kernels(address) == ["idle"])

    def run(self, cell: int) -> None:
        """Run a cell, and wait until the kernel is done with it."""
        prompt = self.cell(cell).locator(".jp-InputPrompt")
        before = prompt.inner_text()
        self.cell(cell).locator(".jp-InputArea-editor").click()
        self.page.keyboard.press("Control+Enter")
        until(lambda: prompt.inner_text() != before and re.search(r"\[\d+\]", prompt.inner_text()))

    def run_all(self) -> None:
        """Run all cells by JupyterLab's menu, and wait until the last of them was run."""
        self.page.get_by_role("menuitem", name="Run", exact=True).click()
        self.page.get_by_role("menuitem", name="Run All Cells", exact=True).click()
        last = self.page.locator(".jp-CodeCell").last.locator(".jp-InputPrompt")
        until(lambda: re.search(r"\[\d+\]", last.inner_text()))

    def cell(self, number: int) -> Locator:
        return self.page.locator(".jp-CodeCell").nth(number)

    def said(self, cell: int) -> str:
        return self.cell(cell).locator(".jp-OutputArea").inner_text()

    def press(self, name: str) -> None:
        self.page.locator(".jp-OutputArea button", has_text=name).click()

    def start(self, cell: int) -> None:
        """Show the dashboard in a cell anew, and start a run of which no machine comes to the end before the test."""
        self.run(cell)
        self.cell(cell).get_by_label("steps").fill("100000")
        self.page.keyboard.press("Tab")
        self.press("Start")
        until(lambda: any(step > 0 for *_, step in progress(self.said(cell))))

    def close(self) -> None:
        assert [error for error in self.errors if error != OLD_COMPLAINT] == []
        assert self.page.locator("[data-mime-type$=stderr], [data-mime-type$=error]").count() == 0
        self.context.close()
        for session in json.load(urllib.request.urlopen(f"{self.address}/api/sessions")):
            request = urllib.request.Request(f"{self.address}/api/sessions/{session['id']}", method="DELETE")
            urllib.request.urlopen(request)


# The cells of a notebook that most tests share, as it takes a while to open one.
TRAINING, VERSION, THREADS, SPECTRUM, *LONG = range(16)
CELLS = [
    "import orthobook as ob\nob.dashboard.training()",
    "import ipywidgets\nipywidgets.__version__",
    """
import threading, time
end = time.monotonic() + 100
count = lambda: sum(t.name == "orthobook training" for t in threading.enumerate())
while count() and time.monotonic() < end:
    time.sleep(0.1)
f"{count()} threads"
""",
    "ob.dashboard.spectrum()",
    *["print(*range(60), sep='\\n')"] * 12,
]


@pytest.fixture(scope="module")
def book(browser, lab):
    """The notebook of the cells above; each test shows its dashboard anew."""
    notebook = Notebook(browser, lab, *CELLS)
    yield notebook
    notebook.close()


def progress(text: str) -> list[tuple[str, str, int]]:
    """What a dashboard says of its runs: architecture, state and steps taken."""
    found = re.findall(r"■ (\S+),.*: ([\w ]+), step (\d+) of", text)
    return [(name, state, int(step)) for name, state, step in found]


@pytest.mark.parametrize("widgets", ["8"], indirect=True)  # its one widget is the dashboard, driven in both below
def test_a_chapter_runs_and_its_dashboard_trains(browser, lab):
    cells = [cell for cell in nbformat.read(CHAPTER, as_version=4).cells if cell.cell_type == "code"]
    (dashboard,) = [index for index, cell in enumerate(cells) if "ob.dashboard.training()" in cell.source]
    notebook = Notebook(browser, lab, *cells)
    notebook.run_all()
    assert len(progress(notebook.said(dashboard))) == 0
    notebook.press("Start")
    until(lambda: any(step > 0 for *_, step in progress(notebook.said(dashboard))))
    notebook.press("Stop")
    until(lambda: [state for _, state, _ in progress(notebook.said(dashboard))] == ["stopped"])
    notebook.close()


def test_a_student_trains_pauses_stops_and_compares(book, widgets):
    def latest():
        return progress(book.said(TRAINING))[-1]

    def curves():
        lines = book.cell(TRAINING).locator("svg polyline")
        return lines.evaluate_all("lines => lines.map(line => line.getAttribute('points'))")

    book.start(TRAINING)
    assert latest()[:2] == ("shifted-fold", "training")
    before, step = curves(), latest()[2]
    until(lambda: latest()[2] > step and curves() != before)  # the curves grow
    until(lambda: " left" in book.said(TRAINING))

    book.run(VERSION)  # the kernel answers meanwhile
    assert f"'{widgets[0]}." in book.said(VERSION)

    book.press("Pause")
    until(lambda: latest()[1] == "paused")
    step = latest()[2]
    book.run(VERSION)  # a while for the kernel
    assert latest() == ("shifted-fold", "paused", step)

    book.press("Go on")
    until(lambda: latest()[2] > step)
    book.press("Stop")
    until(lambda: latest()[1] == "stopped")

    book.cell(TRAINING).get_by_label("architecture").select_option("relu-orthogonal")
    book.press("Start")
    until(lambda: len(progress(book.said(TRAINING))) == 2 and latest()[2] > 0)
    assert [name for name, *_ in progress(book.said(TRAINING))] == ["shifted-fold", "relu-orthogonal"]
    book.press("Stop")
    until(lambda: latest()[1] == "stopped")
    book.run(THREADS)
    assert "0 threads" in book.said(THREADS)
    until(lambda: kernels(book.address) == ["idle"])


@pytest.mark.parametrize("way", ["run again", "clear"])
def test_a_run_ends_with_its_output(book, way):
    book.start(TRAINING)
    if way == "run again":
        book.run(TRAINING)
    else:
        book.cell(TRAINING).locator(".jp-InputArea-editor").click()
        book.page.get_by_role("menuitem", name="Edit").first.click()
        book.page.get_by_role("menuitem", name="Clear Cell Output").click()
    book.run(THREADS)
    assert "0 threads" in book.said(THREADS)


def test_sliders_move_the_spectrum(book):
    book.run(SPECTRUM)
    until(lambda: "largest |σ − 1|" in book.said(SPECTRUM))
    picture = book.cell(SPECTRUM).locator("svg[role=img]")
    before = picture.inner_html()
    book.cell(SPECTRUM).get_by_label("architecture").select_option("shifted-fold")
    until(lambda: "shifted-fold, 50 layers" in book.said(SPECTRUM))
    assert picture.inner_html() != before


def test_a_run_goes_on_while_it_is_out_of_sight(book):
    book.start(TRAINING)
    for cell in LONG:
        book.run(cell)
    book.press("Pause")  # which it can only while it trains
    until(lambda: [state for _, state, _ in progress(book.said(TRAINING))] == ["paused"])
