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

from orthobook.figures.scales import named

__all__ = ["by_choice", "check_boxes", "comparison", "literal", "pairs_of", "property_name", "selector", "start_value"]


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
    step = _step(values) if len(values) > 8 else None
    if step is not None:
        binding = alt.binding_range(min=values[0], max=values[-1], step=step, name=label)
    elif len("".join(map(str, values))) <= 32:
        binding = alt.binding_radio(options=list(values), name=label)
    else:
        binding = alt.binding_select(options=list(values), name=label)
    return alt.param(value=value, bind=binding)


def _step(values: Sequence[Any]) -> float | None:
    """Return the step of evenly spaced numbers, None for any others; to 9 decimals, as a slider counts in decimals."""
    if any(isinstance(v, str) for v in values):
        return None
    step = round(values[1] - values[0], 9)
    evenly = all(v == round(values[0] + i * step, 9) for i, v in enumerate(values))
    return step if evenly else None


def start_value(start: Any, values: Sequence[Any], default: Any) -> Any:
    """Return the value that a control starts at, having checked that it is one of its values."""
    if start is None:
        return default
    if start not in values:
        raise ValueError(f"start: expected one of {list(values)}, got {start!r}")
    return start


def comparison(label: str, names: list[str], start: tuple[str, str] | None = None) -> list[tuple[alt.Parameter, str]]:
    """Return a control that chooses a name and, where there are several, one for another to compare it with.

    With each comes the expression of what it is called: the name chosen and, the second time, that it is the same.
    """
    chosen = names[:2] if start is None else [start_value(name, names, name) for name in start]
    first = selector(label, names, chosen[0])
    if len(names) == 1:
        return [(first, first.name)]
    second = selector("Compared with", names, chosen[1])
    return [(first, first.name), (second, f"({second.name} + ({second.name} == {first.name} ? ' again' : ''))")]


def check_boxes(names: list[str]) -> tuple[list[alt.Parameter], str]:
    """Return one check box for each name and the condition that a row's name is checked."""
    boxes = [alt.param(value=True, bind=alt.binding_checkbox(name=name)) for name in names]
    checked = ", ".join(f"{literal(name)}: {box.name}" for name, box in zip(names, boxes, strict=True))
    return boxes, f"({{{checked}}})[datum.name]"


def by_choice(values: Mapping[tuple[str, Any], Any], names: list[str], choices: list[Any]) -> alt.Parameter:
    """Return a parameter that holds the values, for expressions to look up by name and then by choice."""
    return alt.param(
        value={name: {property_name(choice): values[name, choice] for choice in choices} for name in names}
    )


def literal(value: Any) -> str:
    """Return ``value`` as a literal of Vega's expression language."""
    return json.dumps(value, ensure_ascii=False)


def property_name(value: Any) -> str:
    """Return the property name that a script makes of a choice: of a number 1 for 1.0, of a string itself."""
    if isinstance(value, str):
        return value
    return str(int(value)) if value == int(value) else repr(float(value))
