#!/usr/bin/env python3
"""Photograph every page of the built book: light, dark, and on a narrow screen.

    python scripts/screenshots.py --site _build/html --to _build/screenshots

The pictures are for people to look at: one PNG per page and look, the full height of the page.
"""

from __future__ import annotations

import argparse
import shutil
import sys
from pathlib import Path

from playwright.sync_api import Browser, sync_playwright

LOOKS = {  # name: (width in CSS pixels, colour mode)
    "light": (1280, "light"),
    "dark": (1280, "dark"),
    "narrow": (390, "light"),
    "narrow-dark": (390, "dark"),
}

# Typesetting is asynchronous; a page without mathematics has no MathJax to wait for.
TYPESET = "() => !window.MathJax || (MathJax.startup && MathJax.startup.promise.then(() => true))"
DRAWN = "() => [...document.querySelectorAll('.orthobook-chart')].every(chart => chart.dataset.state)"


def pages(site: Path) -> list[Path]:
    """Return the pages of a built book, without the sources of its modules."""
    return sorted(page for page in site.rglob("*.html") if not {"_static", "_modules"} & set(page.parts))


def photograph(browser: Browser, site: Path, folder: Path, look: str, only: str) -> int:
    """Write one picture of every page whose path contains ``only``; return how many."""
    width, mode = LOOKS[look]
    context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=mode)
    context.add_init_script(f"localStorage.setItem('mode', '{mode}'); localStorage.setItem('theme', '{mode}');")
    tab = context.new_page()
    chosen = [page for page in pages(site) if only in page.relative_to(site).as_posix()]
    for page in chosen:
        tab.goto(page.resolve().as_uri())
        tab.wait_for_load_state("networkidle")
        tab.wait_for_function(TYPESET)
        tab.wait_for_function(DRAWN)
        name = page.relative_to(site).with_suffix("").as_posix().replace("/", "-")
        tab.screenshot(path=folder / f"{name}.{look}.png", full_page=True)
    context.close()
    return len(chosen)


def main() -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--site", type=Path, default=Path("_build/html"), help="the built book (default: %(default)s)")
    parser.add_argument("--to", type=Path, default=Path("_build/screenshots"), help="folder (default: %(default)s)")
    parser.add_argument("--look", choices=LOOKS, action="append", help="one look only; may be repeated (default: all)")
    parser.add_argument("--only", default="", help="only pages whose path contains this")
    arguments = parser.parse_args()
    if not pages(arguments.site):
        print(f"no pages below {arguments.site}: build the book first (make book)", file=sys.stderr)
        return 1
    arguments.to.mkdir(parents=True, exist_ok=True)
    with sync_playwright() as playwright:
        # Debian's Chromium where there is one, else the one that Playwright installs
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox", "--disable-gpu", "--disable-quic"]
        )
        for look in arguments.look or LOOKS:
            count = photograph(browser, arguments.site, arguments.to, look, arguments.only)
            print(f"{look}: {count} pictures in {arguments.to}")
        browser.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
