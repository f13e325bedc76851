"""Matrices and numbers as a reader types them: rows on lines, entries apart by spaces or commas, 1/sqrt(2) allowed."""

from __future__ import annotations

import ast
import math
import operator
import re
from collections.abc import Callable, Mapping

import torch
from jaxtyping import Float
from torch import Tensor

__all__ = ["comma", "matrix", "number", "numbers"]

_OPERATIONS: Mapping[type[ast.AST], Callable[..., float]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.Pow: operator.pow,
    ast.UAdd: operator.pos,
    ast.USub: operator.neg,
}
_FUNCTIONS: Mapping[str, Callable[[float], float]] = {"sqrt": math.sqrt, "cos": math.cos, "sin": math.sin}
LONGEST = 200  # characters of an entry


def matrix(name: str, text: str, *, empty: tuple[int, int] = (0, 0)) -> Float[Tensor, "rows columns"]:
    """Return a matrix in float64; without any entry it has the shape ``empty``.

    Raises
    ------
    ValueError
        If an entry cannot be read or rows differ in length; the message says which.
    """
    rows = [numbers(name, line) for line in re.split(r"[\n;]", text) if line.strip()]
    for index, row in enumerate(rows, start=1):
        if len(row) != len(rows[0]):
            raise ValueError(f"{name}: row 1 has {len(rows[0])} entries, row {index} has {len(row)}{comma(text)}")
    return torch.tensor(rows, dtype=torch.float64) if rows else torch.empty(empty, dtype=torch.float64)


def numbers(name: str, text: str) -> tuple[float, ...]:
    """Return the numbers of a line; ValueError for one that cannot be read."""
    return tuple(number(name, entry) for entry in re.split(r"[,\s]+", text.strip(", \t\n")) if entry)


def number(name: str, text: str) -> float:
    """Return the value of one entry; ValueError if it cannot be read or is no finite number."""
    try:
        if len(text) > LONGEST:
            raise SyntaxError("too long")
        value = _value(ast.parse(text.replace("−", "-"), mode="eval").body)
    except SyntaxError:
        raise ValueError(
            f"{name}: cannot read {text!r}; allowed are numbers and expressions without spaces, "
            "such as 0.6, 1/2, sqrt(3)/2 or cos(pi/5)"
        ) from None
    except OverflowError:
        value = math.inf
    except (ZeroDivisionError, ValueError, TypeError):  # such as sqrt(-1), and functions of what is complex
        value = math.nan
    if not isinstance(value, float) or math.isnan(value):  # the power of a negative number may be complex
        raise ValueError(f"{name}: {text} is not a finite number")
    if math.isinf(value):
        raise ValueError(f"{name}: {text} is too large")
    return value


def comma(text: str) -> str:
    """Return what to add to a complaint about the number of entries, if a comma may have been meant as a point."""
    return "; a comma parts entries, so write 0.5 for one half, not 0,5" if re.search(r"\d,\d", text) else ""


def _value(node: ast.AST) -> float:
    """Return the value of an expression; everything but arithmetic is a SyntaxError."""
    match node:
        case ast.Constant(value=int() | float() as constant) if not isinstance(constant, bool):
            return float(constant)  # powers of floats overflow at once, where those of whole numbers would take hours
        case ast.Name(id="pi"):
            return math.pi
        case ast.UnaryOp(op=op, operand=operand) if type(op) in _OPERATIONS:
            return _OPERATIONS[type(op)](_value(operand))
        case ast.BinOp(left=left, op=op, right=right) if type(op) in _OPERATIONS:
            return _OPERATIONS[type(op)](_value(left), _value(right))
        case ast.Call(func=ast.Name(id=function), args=[argument], keywords=[]) if function in _FUNCTIONS:
            return _FUNCTIONS[function](_value(argument))
    raise SyntaxError("no arithmetic")
