"""Write what repeats the table of contents: the list in README.md, the heads of the lecture plans, the "Next:" lines.

    python scripts/follow_contents.py            after a change of _toc.yml or of a chapter's title
    python scripts/follow_contents.py --check    only report what does not follow it

A "Next:" line that leads to the right chapter stays as its author wrote it; one that leads elsewhere is made anew.
Running and checking all notebooks, by normalise_notebooks.py, does this as well.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path

import chapters

README, PLANS = chapters.ROOT / "README.md", chapters.ROOT / "book" / "lectures.md"
BEGIN, END = "<!-- made by scripts/follow_contents.py -->\n", "\n<!-- end of what is made -->"
PLAN = re.compile(r"^## \[[^\n]*\]\(([\w-]+)\.ipynb\)\n", re.MULTILINE)
NEXT = re.compile(r"^Next: .*?\(([\w-]+)\.ipynb\).*$", re.MULTILINE)


def title(name: str) -> str:
    """Return the title of the chapter of that name."""
    return chapters.title(chapters.read(name))


def readme(text: str) -> str:
    """Return README.md with its list of the chapters to open in Colab; ValueError if it has no place for one."""
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not end:
        raise ValueError(f"README.md has no place for the list of chapters, between {BEGIN!r} and {END!r}")
    colab = (
        f"https://colab.research.google.com/github/{chapters.repository().partition('github.com/')[2]}/blob/main/book"
    )
    names = chapters.contents()[1:]
    return before + begin + ",\n".join(f"[{title(name)}]({colab}/{name}.ipynb)" for name in names) + "." + end + after


def plans(text: str) -> str:
    """Return the lecture plans under the chapters' titles and in their order; ValueError if they are not all there."""
    before, *pieces = PLAN.split(text)
    found = {name: body.rstrip("\n") for name, body in zip(pieces[::2], pieces[1::2], strict=True)}
    names = chapters.contents()
    if sorted(pieces[::2]) != sorted(names):
        wrong = ", ".join(sorted(set(found) ^ set(names))) or "one that is there twice"
        raise ValueError(f"book/lectures.md must have one plan for each chapter of _toc.yml; look at {wrong}")
    return before + "\n\n".join(f"## [{title(name)}]({name}.ipynb)\n{found[name]}" for name in names) + "\n"


def leading_to(text: str, following: str) -> str:
    """Return the last cell's text of a chapter with a "Next:" line that leads to the chapter that follows."""
    found = [match[1] for match in NEXT.finditer(text)]
    if found == [following]:
        return text
    return f"{NEXT.sub('', text).rstrip()}\n\nNext: [{title(following)}]({following}.ipynb)."


def made() -> Iterator[tuple[Path, str]]:
    """Yield each file that repeats the table of contents, and its text as it should be."""
    for path, function in ((README, readme), (PLANS, plans)):
        yield path, function(path.read_text(encoding="utf-8"))
    for name, following in pairwise(chapters.contents()):
        path = chapters.ROOT / "book" / f"{name}.ipynb"
        text = path.read_text(encoding="utf-8")
        notebook = json.loads(text)
        last = "".join(notebook["cells"][-1]["source"])
        if (led := leading_to(last, following)) != last:
            notebook["cells"][-1]["source"] = led.splitlines(keepends=True)
            text = json.dumps(notebook, indent=1, ensure_ascii=False) + "\n"
        yield path, text


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return 0 when every file follows the table of contents, otherwise 1."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="write nothing, only report")
    options = parser.parse_args(arguments)
    try:
        stale = {path: text for path, text in made() if path.read_text(encoding="utf-8") != text}
    except ValueError as error:
        print(error, file=sys.stderr)
        return 1
    for path, text in stale.items():
        if options.check:
            print(f"{path}: does not follow _toc.yml; run scripts/follow_contents.py", file=sys.stderr)
        else:
            path.write_text(text, encoding="utf-8")
            print(f"{path}: now follows _toc.yml")
    return int(options.check and bool(stale))


if __name__ == "__main__":
    sys.exit(main())
