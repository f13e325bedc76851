"""Every word of the chapters, pages and documents is in a dictionary, or in the list of the project's own words."""

import re
from pathlib import Path

import chapters
import pytest
from hunspell import Hunspell

ROOT = Path(__file__).resolve().parent.parent
OWN = set((ROOT / "tests" / "words.txt").read_text(encoding="utf-8").split())
TEXTS = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "book").glob("*.md")), *sorted((ROOT / "book").glob("*.ipynb"))]

# The dictionary is American, the book is British: what makes the one of the other.
BRITISH = [
    (r"is(e|ed|er|ers|es|ing|ation|ations|able)$", r"iz\1"),
    (r"ys(e|ed|es|ing)$", r"yz\1"),
    (r"our(|s|ed|ing|less|able|ably|ful|hood|hoods|ite|ites)$", r"or\1"),
    (r"(cent|fib|met)re(|s|d)$", r"\1er\2"),
    (r"ll(ed|ing|er|ers)$", r"l\1"),
    (r"ogue(|s)$", r"og\1"),
    (r"ence(|s)$", r"ense\1"),
    (r"grey", "gray"),
    (r"ulfil", "ulfill"),
    (r"(judg|acknowledg)ement", r"\1ment"),
    (r"programme(|s)$", r"program\1"),
    (r"^(un)?learnt$", r"\1learned"),
]
NOT_WORDS = re.compile(
    r"""
      ^```.*?^```          # code
    | \$\$.*?\$\$          # formulas
    | \$[^$]*\$
    | `[^`\n]*`            # names in code
    | \{[a-z:-]+\}        # directives and roles
    | ^:[a-z-]+:[^\n]*$   # options of directives
    | ^\([\w-]+\)=$       # labels
    | \]\([^)]*\)          # where links lead
    | <[^<>]+>            # tags
    | https?://\S+
    """,
    re.DOTALL | re.MULTILINE | re.VERBOSE,
)


LETTER = "[A-Za-zÀ-ÖØ-öø-ÿ]"  # those that the dictionary knows


def words(text):
    """Return the words of a text, without its formulas, code and addresses."""
    found = re.findall(rf"(?<!\w){LETTER}+(?:'{LETTER}+)*(?!\w)", NOT_WORDS.sub(" ", text).replace("’", "'"))
    return {word.removesuffix("'s") for word in found if len(word) > 2}


@pytest.fixture(scope="module")
def dictionary():
    return Hunspell("en_US")


def is_known(word, dictionary):
    if word in OWN or word.lower() in OWN or dictionary.spell(word):
        return True
    american = [re.sub(ours, theirs, word) for ours, theirs in BRITISH]
    return any(form != word and dictionary.spell(form) for form in american)


@pytest.mark.parametrize("path", TEXTS, ids=lambda path: path.name)
def test_words_are_spelt_right(path, dictionary):
    text = chapters.text_of(chapters.read(path.stem)) if path.suffix == ".ipynb" else path.read_text(encoding="utf-8")
    assert sorted(word for word in words(text) if not is_known(word, dictionary)) == []


@pytest.mark.parametrize("word", ["teh", "orthognal", "initialistion", "colur", "recieve"])
def test_misspelt_words_are_found(word, dictionary):
    assert not is_known(word, dictionary)


@pytest.mark.parametrize("word", ["colour", "initialisation", "centre", "modelled", "analyse", "behaviour", "learnt"])
def test_british_words_are_right(word, dictionary):
    assert is_known(word, dictionary)


def test_only_words_are_read():
    text = "See `cde` in $xqz$ at <b>bold</b> [words](xqz.md).\n\n```python\nxqz\n```\n"
    text += "\n:::{prf:proof} Gauss's\n:label: xqz\n\nIt's $$\nxqz\n$$ so\n:::"
    assert words(text) == {"See", "bold", "words", "It", "Gauss"}


def test_the_list_of_own_words_is_in_order_and_needed(dictionary):
    listed = (ROOT / "tests" / "words.txt").read_text(encoding="utf-8").split()
    assert listed == sorted(set(listed), key=lambda word: (word.lower(), word))
    assert [word for word in listed if dictionary.spell(word)] == []
