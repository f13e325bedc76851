"""The pages for teachers agree with each other and with the chapters."""

import re

import chapters
import pytest

BOOK = chapters.ROOT / "book"
NAMES = chapters.contents()
PLAN = re.compile(r"^## \[[^\]]+\]\(([\w-]+)\.ipynb\)\n(.*?)(?=^## |\Z)", re.DOTALL | re.MULTILINE)
PLANS = dict(PLAN.findall((BOOK / "lectures.md").read_text(encoding="utf-8")))
ROW = re.compile(r"^\| (.*?) \| (\d+|–|\*\*\d+\*\*) \| (\d+|\*\*\d+\*\*) \|", re.MULTILINE)
MEETING = 90  # minutes


def minutes(name):
    """Return a plan's rows: what, short, full; and its totals."""
    rows = [(what, *(int(m.strip("*").replace("–", "0")) for m in both)) for what, *both in ROW.findall(PLANS[name])]
    return rows[:-1], rows[-1][1:]


@pytest.mark.parametrize("name", NAMES)
def test_a_plan_adds_up_and_has_its_parts(name):
    rows, totals = minutes(name)
    assert len(rows) >= 3
    assert tuple(map(sum, zip(*(row[1:] for row in rows), strict=True))) == totals
    assert totals[0] <= MEETING / 2
    assert totals[1] <= MEETING
    for part in ("**Before.**", "**Expect.**", "**At home.**", f"{{slides}}`{name}`"):
        assert part in PLANS[name]
    labels = {exercise.label for exercise in chapters.exercises(chapters.read(name))}
    assert set(re.findall(r"\{ref\}`([\w-]+)`", PLANS[name].partition("**At home.**")[2])) <= labels


def syllabi():
    """Yield each syllabus's number of weeks, and its rows: week, chapter or "", plan, minutes."""
    text = (BOOK / "syllabi.md").read_text(encoding="utf-8")
    for number, word in ((4, "Four"), (8, "Eight"), (12, "Twelve")):
        rows = re.findall(
            r"^\| (\d*) ?\| (.*?) \| (\w*) ?\| (\d+) \|$", chapters.section(text, f"{word} weeks"), re.MULTILINE
        )
        yield (
            number,
            [
                (week, (re.findall(r"\(([\w-]+)\.ipynb\)", what) or [""])[0], plan, int(m))
                for week, what, plan, m in rows
            ],
        )


every_syllabus = pytest.mark.parametrize(("number", "rows"), list(syllabi()))


@every_syllabus
def test_a_syllabus_fits_its_weeks(number, rows):
    week, used, taught = 0, {}, ["intro"]
    for begins, name, plan, length in rows:
        week = int(begins or week)
        used[week] = used.get(week, 0) + length
        if name:
            assert length == minutes(name)[1][plan == "full"], f"{name}, {plan}"
            taught.append(name)
    assert list(used) == list(range(1, number + 1))
    assert all(60 <= sum_ <= MEETING for sum_ in used.values()), used
    assert set(taught) <= set(NAMES)


def test_the_longest_syllabus_teaches_everything_in_the_order_of_the_book():
    assert [name for _, name, _, _ in dict(syllabi())[12] if name] == NAMES


def test_project_ideas_say_data_and_hours():
    text = (BOOK / "projects.md").read_text(encoding="utf-8")
    rows = re.findall(
        r"^\| \[.*?\]\(#([\w-]+)\) \| \[.*?\]\(([\w-]+)\.ipynb\) \| (.+?) \| (\d+) \| (\S+) · (\S+) \|$",
        text,
        re.MULTILINE,
    )
    assert len(rows) == len(re.findall(r"^## ", text, re.MULTILINE)) >= 6
    assert [label for label, *_ in rows] == re.findall(r"^\(([\w-]+)\)=$", text, re.MULTILINE)
    taught = dict(taught_in())
    for _, name, *_, eight, twelve in rows:
        assert (eight, twelve) == (taught[8].get(name, "–"), taught[12].get(name, "–")), name


def taught_in():
    """Yield each syllabus's number of weeks, and in which week it comes to a chapter."""
    for number, rows in syllabi():
        weeks, week = {}, ""
        for begins, name, _, _ in rows:
            week = begins or week
            weeks[name] = week
        yield number, weeks
