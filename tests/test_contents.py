"""What repeats the table of contents follows it."""

import chapters
import follow_contents
import pytest
import yaml


@pytest.fixture
def book(tmp_path, monkeypatch):
    """A book of three chapters, with prerequisites, plans and a list in README.md."""
    (tmp_path / "book").mkdir()
    contents = {"root": "book/first", "parts": [{"caption": "All", "chapters": [{"file": "book/second"}]}]}
    contents["parts"][0]["chapters"] += [{"file": "book/third"}, {"file": "book/glossary"}]
    (tmp_path / "_toc.yml").write_text(yaml.safe_dump(contents))
    (tmp_path / "pyproject.toml").write_text('[project.urls]\nRepository = "https://github.com/a/b"\n')
    notebook = '{{"cells": [{}], "metadata": {{}}, "nbformat": 4, "nbformat_minor": 5}}\n'
    cell = '{{"cell_type": "markdown", "id": "{0}", "metadata": {{}}, "source": ["{1}"]}}'
    for name, last in (("first", "Next: [second](second.ipynb), a joy."), ("second", "Read."), ("third", "Done.")):
        cells = cell.format("a", f"# The {name}") + ", " + cell.format("b", last)
        (tmp_path / "book" / f"{name}.ipynb").write_text(notebook.format(cells))
    (tmp_path / "book" / "lectures.md").write_text(
        "Plans.\n\n## [A](third.ipynb)\n\nthree\n\n## [B](first.ipynb)\n\none\n\n## [C](second.ipynb)\n\ntwo\n"
    )
    (tmp_path / "README.md").write_text(f"Open\n{follow_contents.BEGIN}{follow_contents.END}\nas you like.\n")
    (tmp_path / "book" / "prerequisites.yml").write_text("third: [first, second]\nsecond: [first]\n")
    monkeypatch.setattr(chapters, "ROOT", tmp_path)
    monkeypatch.setattr(follow_contents, "README", tmp_path / "README.md")
    monkeypatch.setattr(follow_contents, "PLANS", tmp_path / "book" / "lectures.md")
    return tmp_path


def test_this_book_follows_its_contents(capsys):
    assert follow_contents.main(["--check"]) == 0, capsys.readouterr().err
    assert len(chapters.contents()) > 10
    assert list(chapters.prerequisites()) == chapters.contents()[1:]


def test_contents_are_pages_in_their_parts_and_chapters_the_notebooks_among_them(book):
    assert chapters.pages() == {"": ["first"], "All": ["second", "third", "glossary"]}
    assert chapters.contents() == ["first", "second", "third"]


def test_what_is_stale_is_named_and_made(book, capsys):
    before = {path: path.read_text() for path in book.rglob("*") if path.is_file()}
    assert follow_contents.main(["--check"]) == 1
    said = capsys.readouterr().err
    assert [f"{name}: does not follow" in said for name in ("README.md", "lectures.md", "second.ipynb")] == [True] * 3
    assert "first.ipynb" not in said
    assert before == {path: path.read_text() for path in book.rglob("*") if path.is_file()}
    assert follow_contents.main([]) == 0
    assert follow_contents.main(["--check"]) == 0
    changed = {path.name for path, text in before.items() if path.read_text() != text}
    assert changed == {"README.md", "lectures.md", "second.ipynb"}


def test_the_list_in_the_readme_has_titles_and_addresses(book):
    follow_contents.main([])
    colab = "https://colab.research.google.com/github/a/b/blob/main/book"
    listed = f"[The second]({colab}/second.ipynb),\n[The third]({colab}/third.ipynb)."
    made = f"Open\n{follow_contents.BEGIN}{listed}{follow_contents.END}\nas you like.\n"
    assert (book / "README.md").read_text() == made


def test_plans_are_put_in_order_under_the_chapters_titles(book):
    follow_contents.main([])
    assert (book / "book" / "lectures.md").read_text() == (
        "Plans.\n\n## [The first](first.ipynb)\n\none\n\n## [The second](second.ipynb)\n\ntwo\n\n"
        "## [The third](third.ipynb)\n\nthree\n"
    )


@pytest.mark.parametrize(
    ("text", "made"),
    [
        ("Read.\n\nNext: [any words](third.ipynb), and more.", "Read.\n\nNext: [any words](third.ipynb), and more."),
        ("Read.\n\nNext: [a](first.ipynb), and more.", "Read.\n\nNext: [The third](third.ipynb)."),
        ("Read.", "Read.\n\nNext: [The third](third.ipynb)."),
        ("Next: [a](third.ipynb).\n\nNext: [b](first.ipynb).", "\n\nNext: [The third](third.ipynb)."),
    ],
)
def test_a_chapter_leads_to_the_next(book, text, made):
    assert follow_contents.leading_to(text, "third") == made


@pytest.mark.parametrize(
    ("file", "fault", "complaint"),
    [
        ("README.md", ("<!--", ""), "README.md has no place for the list"),
        ("book/lectures.md", ("(second.ipynb)", "(first.ipynb)"), "look at second"),
        ("book/lectures.md", ("two\n", "two\n\n## [D](first.ipynb)\n\n"), "look at one that is there twice"),
    ],
)
def test_what_cannot_be_made_is_named(book, capsys, file, fault, complaint):
    path = book / file
    path.write_text(path.read_text().replace(*fault))
    assert follow_contents.main([]) == 1
    assert complaint in capsys.readouterr().err


@pytest.mark.parametrize(
    ("needs", "complaint"),
    [
        ("second: [first]\n", "look at third"),
        ("second: [first]\nthird: [second]\nfourth: [first]\n", "look at fourth"),
        ("second: [third]\nthird: [first]\n", r"second builds on \['third'\]; name some of \['first'\]"),
        ("second: []\nthird: [first]\n", r"second builds on \[\]"),
    ],
)
def test_prerequisites_that_do_not_fit_the_contents_are_named(book, needs, complaint):
    (book / "book" / "prerequisites.yml").write_text(needs)
    with pytest.raises(ValueError, match=complaint):
        chapters.prerequisites()


def test_prerequisites_come_in_the_book_s_order(book):
    assert list(chapters.prerequisites().items()) == [("second", ["first"]), ("third", ["first", "second"])]
