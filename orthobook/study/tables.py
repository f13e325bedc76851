"""Outcomes of studies as tables, for notebooks and terminals."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Iterator
from typing import Any

from tabulate import tabulate

from orthobook.study.design import Outcome
from orthobook.study.robustness import QUANTILES, RADII, SHORT

__all__ = ["table"]


def table(outcomes: Iterable[Outcome], *, tablefmt: str = "html") -> str:
    """Return outcomes as a table, in a format of the library tabulate: html for notebooks, simple for a terminal.

    One row says of a cell its accuracy over fresh seeds at the learning rate chosen on the validation split. Where
    robustness was measured, one row says it of a network, and one of its twin with an orthogonal embedding.
    """
    outcomes = list(outcomes)
    measured = any(outcome.cell.measure == "robustness" for outcome in outcomes)
    rows = [row for outcome in outcomes for row in (_robustness(outcome) if measured else [_accuracy(outcome)])]
    if len({row.get("data") for row in rows}) == 1:
        rows = [{head: cell for head, cell in row.items() if head != "data"} for row in rows]
    return tabulate(rows, headers="keys", tablefmt=tablefmt, disable_numparse=measured)


def _accuracy(outcome: Outcome) -> dict[str, Any]:
    cell, size = outcome.cell, outcome.records[0].result
    mode = f"{cell.mode}, λ = {cell.penalty:g}" if cell.mode == "penalised" else cell.mode
    row = {"contender": cell.contender.name, "layers": cell.depth, "mode": mode}
    row |= {"learning rate": f"{outcome.learning_rate:g}"}
    if outcome.finals:
        row |= {"test accuracy": f"{100 * outcome.mean:.2f} ± {100 * outcome.spread:.2f} %"}
        row |= {"diverged": sum(record.status != "finished" for record in outcome.finals)}
    else:
        best = max(record.accuracy for record in outcome.tuning)
        row |= {"p": cell.depth_exponent, "validation accuracy": f"{100 * best:.2f} %"}
    row |= {"parameters": f"{size['parameters']:,}", "multiplications": f"{size['multiplications']:,}"}
    return row | {"seconds": f"{statistics.median(outcome.seconds):.1f}"}


def _robustness(outcome: Outcome) -> Iterator[dict[str, str]]:
    cell, at = outcome.cell, RADII.index(SHORT)
    (record,) = outcome.finals
    name = f"{cell.contender.name.partition(',')[0]}, {cell.mode}"
    for kind, twin in {"robustness": "", "orthogonal_embedding": ", E too"}.items():
        if kind not in record.result:  # no twin, or a training that diverged
            continue
        found = {"accuracy": record.accuracy} | record.result[kind]
        row = {"network": name + twin, "layers": cell.depth, "data": record.run.data}
        row |= {"accuracy": found["accuracy"], "Γ": found["lipschitz_bound"], "mean ρ": found["mean_radius"]}
        row |= {f"certified at {SHORT}": found["certified"] and found["certified"][at]}
        row |= {f"attacked at {SHORT}": found["attacked"][at]}
        row |= {"median of found / ρ": found["looseness"] and found["looseness"][QUANTILES.index(0.5)]}
        yield {head: _shown(head, value) for head, value in row.items()}


def _shown(head: str, value: Any) -> str:
    if value is None:  # nothing is proven
        return "–"
    return f"{value:{'.6g' if head == 'Γ' else '.3f'}}" if isinstance(value, float) else str(value)
