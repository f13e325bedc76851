"""Values given by name and choice, and the controls that choose among them.

A control is a parameter of the chart. What depends on it is written in Vega's expression language, where text and
conditions look values up by the controls: ``values[name][choice]``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from numbers import Real
from typing import Any

import altair as alt
import numpy as np

from orthobook.figures import named

__all__ = ["by_choice", "check_boxes", "comparison", "key", "literal", "pairs_of", "selector"]


def pairs_of(
    values: Mapping[tuple[str, Any], Any], what: str, second: str
) -> tuple[Mapping[tuple[str, Any], Any], list[str], list[Any]]:
    """Return ``values`` with its names, in order of appearance, and its second keys; every pair must be there.

    Second keys that are numbers are sorted, and strings are in order of appearance.

    Raises
    ------
    ValueError
        If the mapping is empty, a key is no pair, second keys are neither numbers nor strings, or a pair is missing.
    """
    for pair in named(values, what):
        if not (isinstance(pair, tuple) and len(pair) == 2):
            raise ValueError(f"{what}: expected keys (name, {second}), got {pair!r}")
    names = list(dict.fromkeys(str(name) for name, _ in values))
    choices: list[Any] = list(dict.fromkeys(choice for _, choice in values))
    if not all(isinstance(choice, str) for choice in choices):
        if not all(isinstance(choice, Real) for choice in choices):
            raise ValueError(f"{what}: expected every {second} a number or every {second} a string, got {choices}")
        choices = sorted(choice.item() if isinstance(choice, np.generic) else choice for choice in choices)
    missing = [(name, choice) for name in names for choice in choices if (name, choice) not in values]
    if missing:
        raise ValueError(f"{what}: every name needs every {second}, but {missing[0]!r} is missing")
    return values, names, choices


def selector(label: str, values: Sequence[Any], value: Any) -> alt.Parameter:
    """Return a native control: a slider for many evenly spaced numbers, a row of buttons for few, else a list."""
    binding: Any
    evenly = len(values) > 2 and all(isinstance(v, int) for v in values) and len(set(np.diff(values))) == 1
    if evenly and len(values) > 8:
        step = values[1] - values[0]
        binding = alt.binding_range(min=values[0], max=values[-1], step=step, name=label)
    elif len("".join(map(str, values))) <= 32:
        binding = alt.binding_radio(options=list(values), name=label)
    else:
        binding = alt.binding_select(options=list(values), name=label)
    return alt.param(value=value, bind=binding)


def comparison(label: str, names: list[str]) -> list[alt.Parameter]:
    """Return a control that chooses a name and, where there are several, one for another to compare it with."""
    first = selector(label, names, names[0])
    return [first, selector("Compared with", names, names[1])] if len(names) > 1 else [first]


def check_boxes(names: list[str]) -> tuple[list[alt.Parameter], str]:
    """Return one check box for each name and the condition that a row's name is checked."""
    boxes = [alt.param(value=True, bind=alt.binding_checkbox(name=name)) for name in names]
    checked = ", ".join(f"{literal(name)}: {box.name}" for name, box in zip(names, boxes, strict=True))
    return boxes, f"({{{checked}}})[datum.name]"


def by_choice(values: Mapping[tuple[str, Any], Any], names: list[str], choices: list[Any]) -> alt.Parameter:
    """Return a parameter that holds the values, for expressions to look up by name and then by choice."""
    return alt.param(value={name: {key(choice): values[name, choice] for choice in choices} for name in names})


def literal(value: Any) -> str:
    """Return ``value`` as a literal of Vega's expression language."""
    return json.dumps(value, ensure_ascii=False)


def key(value: Any) -> str:
    """Return the property name that a script makes of a choice: of a number 1 for 1.0, of a string itself."""
    if isinstance(value, str):
        return value
    return str(int(value)) if value == int(value) else repr(float(value))
