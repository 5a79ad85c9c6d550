"""The table of spec 001c section 3.6: what was run, in the thesis's layout, its numbers beside ours."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from apprentice_workflows.cli.output import print_table
from apprentice_workflows.insertion.methods import CONNECTORS, METHODS
from apprentice_workflows.insertion.trials import CONDITIONS

Results = Mapping[tuple[str, str], Sequence[Mapping[str, Any]]]
"""(method, connector) -> a result of each seed"""


def pooled(results: Sequence[Mapping[str, Any]], condition: str) -> tuple[int, int]:
    """(successes, trials) over all seeds."""
    return sum(r[condition]["successes"] for r in results), sum(r[condition]["trials"] for r in results)


def entry(results: Sequence[Mapping[str, Any]], condition: str) -> str:
    successes, trials = pooled(results, condition)
    return f"{100 * successes / trials:.0f}" if trials else "-"


def rows(results: Results) -> list[tuple[str, ...]]:
    """A row a method that was run: its title, then 'ours perfect / noisy (thesis's perfect / noisy)' for each connector."""
    out = []
    for m in METHODS.values():
        if not any((m.name, c) in results for c in CONNECTORS):
            continue
        cells = []
        for c in CONNECTORS:
            found, thesis = results.get((m.name, c)), m.rates.get(c)
            ours = " / ".join(entry(found, k) for k in CONDITIONS) if found else ("" if c in m.connectors else "-")
            cells.append(f"{ours}  ({100 * thesis[0]:.0f} / {100 * thesis[1]:.0f})" if thesis else ours)
        n = max((len(r) for (name, _), r in results.items() if name == m.name), default=0)
        out.append((m.title, *cells, str(n)))
    return out


def show(results: Results) -> None:
    print_table(
        "Success, %, perfect / noisy goal (the thesis's in brackets)", ("method", "USB", "D-Sub", "Model-E", "seeds"), rows(results)
    )
