"""The dashboards as a student meets them: in JupyterLab with a kernel, by mouse and keyboard, with both ipywidgets."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CHAPTERS = ("going-deep", "singular-values", "particular-cases")
# The oldest ipywidgets that the package allows, as Colab has it, and the newest front end that goes with it.
OLD_WIDGETS = ("ipywidgets==7.7.5", "jupyterlab-widgets==1.1.11", "ipython-genutils==0.2.0")
PATIENCE = 180  # seconds, for a machine that is busy; nothing here waits for a time to pass


def live_cell(chapter: str) -> str:
    """The cell of a chapter that shows its dashboard."""
    cells = json.loads((ROOT / "book" / f"{chapter}.ipynb").read_text("utf-8"))["cells"]
    (source,) = ["".join(cell["source"]) for cell in cells if cell["id"] == "live"]
    return source


def write_notebook(path: Path) -> None:
    sources = [
        "import ipywidgets, orthobook as ob\nprint('ipywidgets', ipywidgets.__version__)",
        *map(live_cell, CHAPTERS),
    ]
    cells = [
        {
            "cell_type": "code",
            "id": f"cell-{i}",
            "metadata": {},
            "outputs": [],
            "execution_count": None,
            "source": source,
        }
        for i, source in enumerate(sources)
    ]
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    content = {"cells": cells, "metadata": {"kernelspec": kernel}, "nbformat": 4, "nbformat_minor": 5}
    path.write_text(json.dumps(content), "utf-8")


@pytest.fixture(scope="module", params=["pinned", "7.7"])
def widgets(request, tmp_path_factory) -> dict[str, str]:
    """What the environment of JupyterLab and its kernel adds for a version of ipywidgets."""
    path = os.environ.get("PYTHONPATH", "")
    if request.param == "pinned":
        return {}
    folder = tmp_path_factory.mktemp("ipywidgets")
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(folder), *OLD_WIDGETS]
    subprocess.run(pip, check=True)
    return {
        "PYTHONPATH": os.pathsep.join(part for part in (path, str(folder)) if part),
        "JUPYTER_PATH": str(folder / "share" / "jupyter"),
    }


@pytest.fixture(scope="module")
def lab(widgets, tmp_path_factory) -> Iterator[str]:
    """The address of a notebook with the dashboards, in a JupyterLab of its own."""
    home = tmp_path_factory.mktemp("jupyterlab")
    (home / "work").mkdir()
    write_notebook(home / "work" / "dashboards.ipynb")
    news = home / "settings" / "@jupyterlab" / "apputils-extension" / "notification.jupyterlab-settings"
    news.parent.mkdir(parents=True)
    news.write_text('{"fetchNews": "false", "checkForUpdates": false}')  # nothing pops up, no other host is asked
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{free.getsockname()[1]}"
    folders = {"JUPYTERLAB_SETTINGS_DIR": "settings", "JUPYTERLAB_WORKSPACES_DIR": "workspaces"}
    folders |= {"JUPYTER_CONFIG_DIR": "config", "JUPYTER_RUNTIME_DIR": "runtime", "JUPYTER_DATA_DIR": "data"}
    environment = os.environ | {name: str(home / folder) for name, folder in folders.items()} | widgets
    command = [sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root", f"--port={address.split(':')[-1]}"]
    command += ["--ServerApp.ip=127.0.0.1", "--ServerApp.port_retries=0", "--IdentityProvider.token="]
    command += [f"--ServerApp.root_dir={home / 'work'}", "--LabApp.expose_app_in_browser=True"]
    with (home / "log").open("w") as log:
        server = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
        try:
            await_server(server, address, home / "log")
            yield f"{address}/lab/tree/dashboards.ipynb"
        finally:
            server.terminate()
            server.wait(PATIENCE)


def await_server(server: subprocess.Popen, address: str, log: Path) -> None:
    end = time.monotonic() + PATIENCE
    while server.poll() is None and time.monotonic() < end:
        try:
            urllib.request.urlopen(f"{address}/api").close()
            return
        except OSError:
            time.sleep(0.1)
    pytest.fail(f"JupyterLab did not start:\n{log.read_text()[-3000:]}")


@contextmanager
def opened(browser, address: str) -> Iterator:
    """The notebook in a browser, its kernel running and all cells run."""
    context = browser.new_context(viewport={"width": 1280, "height": 1400})
    page = context.new_page()
    page.set_default_timeout(PATIENCE * 1000)
    errors = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.goto(address)
    until(page, "window.jupyterapp?.shell.currentWidget?.sessionContext?.session?.kernel?.status === 'idle'")
    page.evaluate("() => { jupyterapp.commands.execute('notebook:run-all-cells'); }")  # and do not wait for the last
    page.locator(".jp-OutputArea-output .jupyter-button").first.wait_for()
    yield page
    until(page, "jupyterapp.shell.currentWidget.sessionContext.session.kernel.status === 'idle'")
    assert errors == []
    assert page.locator(".jp-OutputArea-output[data-mime-type*=stderr]").count() == 0
    assert "Traceback" not in page.locator(".jp-Notebook").inner_text()
    context.close()


def until(page, condition: str, argument: object = None) -> None:
    page.wait_for_function(condition, arg=argument, timeout=PATIENCE * 1000)


def dashboard(page, number: int):
    """The output of the cell that shows a dashboard, from 1."""
    return page.locator(".jp-Notebook-cell").nth(number).locator(".jp-OutputArea-output").first


def holds(page, output, text: str) -> None:
    """Wait until a regular expression is found in an output."""
    until(
        page,
        "([output, text]) => new RegExp(text).test(output.innerText)",
        [output.element_handle(), text],
    )


class Training:
    """The training dashboard in a page."""

    def __init__(self, page) -> None:
        self.page, self.output = page, dashboard(page, 1)

    def press(self, button: str) -> None:
        self.output.locator(".jupyter-button:not([disabled])", has_text=button).click()

    def choose(self, label: str, value: str) -> None:
        self.output.locator(".widget-dropdown", has_text=label).locator("select").select_option(value)

    def fill(self, label: str, value: str) -> None:
        field = self.output.locator(".widget-text", has_text=label).locator("input")
        field.fill(value)
        field.press("Tab")

    def step(self) -> int:
        """The step that the latest run has come to."""
        return int(re.findall(r"step (\d+) of", self.output.inner_text())[-1])

    def drawing(self) -> str:
        return "".join(svg.inner_html() for svg in self.output.locator("svg[role=img]").all())

    def await_step_after(self, step: int) -> None:
        until(
            self.page,
            "([output, step]) => Number([...output.innerText.matchAll(/step (\\d+) of/g)].at(-1)?.[1] ?? 0) > step",
            [self.output.element_handle(), step],
        )


def test_a_student_trains_two_networks(browser, lab, widgets):
    with opened(browser, lab) as page:
        holds(page, dashboard(page, 0), r"ipywidgets 7\.7\.5" if widgets else r"ipywidgets 8\.")
        training = Training(page)
        assert training.output.locator("svg[role=img]").count() == 4
        holds(page, training.output, "Will take")
        training.fill("steps", "50000")  # so that no machine is too fast for what follows
        holds(page, training.output, "more than a minute")

        training.press("Start")
        training.await_step_after(0)
        assert "shifted-fold, 100 layers" in training.output.inner_text()
        before, step = training.drawing(), training.step()
        training.await_step_after(step)
        assert training.drawing() != before

        training.press("Pause")
        holds(page, training.output, "paused, step")
        stands = training.step()
        training.fill("steps", "0")  # the kernel answers meanwhile
        holds(page, training.output, "steps must be a whole number")
        training.fill("steps", "60000")
        holds(page, training.output, "more than a minute")
        assert training.step() == stands
        training.press("Go on")
        training.await_step_after(stands)

        training.press("Stop")
        holds(page, training.output, "stopped, step")
        training.choose("architecture", "residual")
        training.press("Start")
        holds(page, training.output, "residual, 100 layers.*training, step")
        training.await_step_after(1)
        assert len(re.findall("100 layers", training.output.inner_text())) == 2
        training.press("Stop")
        holds(page, training.output, "residual, 100 layers.*stopped, step")

        training.fill("learning rate", "-1")
        holds(page, training.output, "learning_rate must be a positive finite number")


def test_a_student_looks_at_spectra_and_judges_a_layer(browser, lab):
    with opened(browser, lab) as page:
        spectrum = dashboard(page, 2)
        holds(page, spectrum, "residual, 50 layers")
        spectrum.locator(".widget-dropdown", has_text="architecture").locator("select").select_option("shifted-fold")
        holds(page, spectrum, r"σ from 1\.00 to 1\.00")

        layer = dashboard(page, 3)
        holds(page, layer, "The Jacobian is orthogonal")
        layer.locator("textarea").first.fill("1 0\n0 2")
        holds(page, layer, "The Jacobian is not orthogonal")
        layer.locator("textarea").first.fill("1 0\n0 two")
        holds(page, layer, "A: cannot read 'two'")
