"""Write a chapter's MyST Markdown as plain Markdown, for notebooks that are opened without the book.

JupyterLab and Colab set formulas and know nothing of theorems, citations and numbers. Here each of the few constructs
that the chapters use becomes what a reader sees on the book's page, with the same numbers: "Theorem 3.1", "(3.2)",
"Exercise 3.4".
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import cache

import chapters
from pybtex.database import Entry, parse_file

KINDS = ("theorem", "lemma", "proposition", "corollary", "definition")

_STATEMENT = re.compile(r"^:::\{prf:(\w+)\}(?: ([^\n]*))?\n(?::label: (\S+)\n)?(.*?)^:::$", re.DOTALL | re.MULTILINE)
_TABLE = re.compile(r"^:::\{list-table\}\n(?::[^\n]*\n)*\n?(.*?)^:::$", re.DOTALL | re.MULTILINE)
_EQUATION = re.compile(r"^\$\$ \(([\w-]+)\)$", re.MULTILINE)
_HEADING = re.compile(r"^#{2,4} (.+)$", re.MULTILINE)
_LABEL = re.compile(r"^::::\{exercise\} [^\n]*\n:label: (\S+)$", re.MULTILINE)
_ROLE = re.compile(r"\{([a-z:]+)\}`([^`]+)`")
_ANCHOR = re.compile(r"\]\(((?:[\w-]+\.ipynb)?)#([\w-]+)\)")
_PAGE = re.compile(r"\]\(((?!\w+:|#)[\w-]+)\.md(#[\w-]*)?\)")


@dataclass(frozen=True)
class References:
    """What labels stand for in the whole book."""

    names: dict[str, str] = field(default_factory=dict)  # "thm-layer-orthogonal" → "Theorem 3.1"
    numbers: dict[str, str] = field(default_factory=dict)  # "eq-layer-theorem" → "3.6"
    anchors: dict[str, str] = field(default_factory=dict)  # "the-theorem" → "The-theorem", as notebooks have it
    works: dict[str, Entry] = field(default_factory=dict)


@cache
def references() -> References:
    """Return the names and numbers of everything that may be referred to, as the book's pages have them."""
    names, numbers, anchors = {}, {}, {}
    for chapter, name in enumerate(chapters.contents()):
        notebook = chapters.read(name)
        text = chapters.text_of(notebook)
        anchors |= {_slug(heading): heading.replace(" ", "-") for heading in _HEADING.findall(text)}
        figures = [cell.metadata.get("mystnb", {}).get("figure", {}) for cell in notebook.cells]
        named = [figure["name"] for figure in figures if "caption" in figure]
        names |= {figure: f"Fig. {_number(chapter, i)}" for i, figure in enumerate(named, start=1)}
        counts = dict.fromkeys(KINDS, 0)
        for kind, _, label, _ in _STATEMENT.findall(text):
            if kind in counts:
                counts[kind] += 1
                names[label] = f"{kind.capitalize()} {_number(chapter, counts[kind])}"
        numbers |= {label: _number(chapter, i) for i, label in enumerate(_EQUATION.findall(text), start=1)}
        names |= {label: f"Exercise {_number(chapter, i)}" for i, label in enumerate(_LABEL.findall(text), start=1)}
    return References(names, numbers, anchors, dict(parse_file(chapters.ROOT / "book" / "references.bib").entries))


def _slug(heading: str) -> str:
    """Return a heading's address on the book's page."""
    return re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-")


def _number(chapter: int, item: int) -> str:
    """Return a number as on the book's pages; the first page is no numbered chapter."""
    return f"{chapter}.{item}" if chapter else str(item)


def plain(text: str) -> str:
    """Return MyST Markdown as plain Markdown.

    Raises
    ------
    ValueError
        If there is a directive or a role that has no plain form here.
    KeyError
        If a label, or the key of a work, is unknown.
    """
    numbers = references().numbers
    text = _STATEMENT.sub(_statement, text)
    text = _TABLE.sub(_table, text)
    text = _EQUATION.sub(lambda match: f"\\tag{{{numbers[match[1]]}}}\n$$", text)
    text = _ROLE.sub(_role, text)
    text = _ANCHOR.sub(lambda match: f"]({match[1]}#{references().anchors.get(match[2], match[2])})", text)
    text = _PAGE.sub(rf"]({chapters.repository()}/blob/main/book/\1.md\2)", text)
    left = re.search(r"^:::.*", text, re.MULTILINE)
    if left:
        raise ValueError(f"no plain form for {left[0]!r}")
    return text


def folded(summary: str, text: str) -> str:
    """Return plain Markdown that opens on demand."""
    return f"<details><summary>{summary}</summary>\n\n{plain(text)}\n\n</details>"


def _statement(match: re.Match[str]) -> str:
    """Return a theorem or the like, or a proof."""
    kind, title, label, body = match.groups()
    if kind == "proof":
        return f"*Proof.* {body.strip()} ∎"
    if kind not in KINDS:
        raise ValueError(f"no plain form for a {kind}")
    name = f"{references().names[label]} ({title})" if title else references().names[label]
    return f"**{name}.** {body.strip()}"


def _table(match: re.Match[str]) -> str:
    """Return a table written as a list, whose first row is its header, as one written with bars."""
    text = re.sub(r"\$[^$]*\$", lambda formula: formula[0].replace("|", r"\vert "), match[1]).replace("|", r"\|")
    cells = [re.split(r"^  - ", row, flags=re.MULTILINE) for row in re.split(r"^\* - ", text, flags=re.MULTILINE)[1:]]
    rows = ["| " + " | ".join(" ".join(cell.split()) for cell in row) + " |" for row in cells]
    return "\n".join([rows[0], "|" + " --- |" * len(cells[0]), *rows[1:]])


def _role(match: re.Match[str]) -> str:
    """Return what stands on the page for a role."""
    role, content = match.groups()
    target = re.fullmatch(r"(.*?)\s*<(.*)>", content, re.DOTALL)
    words, label = target.groups() if target else (content, content)
    if role == "term":
        return words
    if role in {"py:func", "py:mod", "py:class"}:
        return f"`{words.removeprefix('~').rpartition('.')[2] if words.startswith('~') else words}`"
    if role == "eq":
        return f"({references().numbers[label]})"
    if role in {"prf:ref", "ref", "numref"}:
        return words if target else references().names[label]
    if role in {"cite:t", "cite:p"}:
        return ", ".join(_citation(key.strip(), in_brackets=role == "cite:p") for key in content.split(","))
    raise ValueError(f"no plain form for the role {role!r}")


def _citation(key: str, *, in_brackets: bool) -> str:
    """Return a work by its authors and year, with a link to it."""
    work = references().works[key]
    authors = [" ".join(author.last_names) for author in work.persons["author"]]
    named = f"{authors[0]} et al." if len(authors) > 2 else " and ".join(authors)
    year = work.fields["year"]
    words = f"{named}, {year}" if in_brackets else f"{named} ({year})"
    words = f"[{words}]({work.fields['url']})" if "url" in work.fields else words
    return f"({words})" if in_brackets else words
