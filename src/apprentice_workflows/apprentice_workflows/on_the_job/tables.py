"""Tables 5 to 7: the thesis's numbers, and ours in its layout."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from apprentice_core.statistics import wilson
from apprentice_workflows.cli.output import percent, print_table

CONNECTORS = ("dt12_1", "megablock_1x1", "nema_15", "europlug")
MAIN = "daib_daib"
COLUMNS = ("localize", "straight", "random", "spiral", "offline", "online")
THESIS_TRIALS = 20
THESIS: dict[str, dict[str, tuple[int, ...]]] = {
    "I": {
        "dt12_1": (3, 1, 7, 4, 7, 19), "megablock_1x1": (3, 1, 1, 15, 5, 16), "nema_15": (0, 1, 0, 3, 11, 15),
        "europlug": (6, 4, 6, 4, 10, 15),
    },
    "II": {
        "dt12_1": (0, 0, 0, 0, 0, 18), "megablock_1x1": (0, 1, 0, 17, 0, 20), "nema_15": (0, 0, 0, 0, 6, 17),
        "europlug": (0, 0, 0, 0, 2, 15),
    },
}
"""Tables 5 and 6: successes of 20 by scenario and connector, in the order of COLUMNS"""
ARMS = ("daib_daib", "daib_erm", "erm_erm")
THESIS_ABLATION: dict[str, tuple[tuple[int, int], ...]] = {
    "dt12_1": ((0, 18), (0, 4), (0, 0)), "megablock_1x1": ((0, 20), (3, 20), (3, 0)), "nema_15": ((6, 17), (0, 2), (0, 0)),
    "europlug": ((2, 15), (1, 12), (0, 15)),
}
"""Table 7, scenario II: (offline, online) of 20 for each of ARMS"""
Found = Mapping[tuple[str, str, str], Sequence[Mapping[str, Any]]]
"""(baseline or arm, connector, scenario) -> a cell's result of each seed"""


def counts(results: Sequence[Mapping[str, Any]], part: str = "result") -> tuple[int, int]:
    """(successes, trials) of all seeds; `part`: result of a baseline, offline or online of an arm."""
    return sum(r[part]["successes"] for r in results), sum(r[part]["episodes"] for r in results)


def column(found: Found, name: str, connector: str, scenario: str, arm: str = MAIN) -> tuple[int, int]:
    """(successes, trials) of one of COLUMNS, (0, 0) where it was not run."""
    learned = name in ("offline", "online")
    return counts(found.get((arm if learned else name, connector, scenario), ()), name if learned else "result")


def _entry(successes: int, trials: int, thesis: int) -> str:
    if not trials:
        return f"-  ({thesis})"
    low, high = wilson(successes, trials)
    return f"{successes}/{trials} [{percent(low)}, {percent(high)}]  ({thesis})"


def rows(found: Found, scenario: str) -> list[tuple[str, ...]]:
    """Tables 5 and 6: ours with its Wilson interval, the thesis's successes of 20 in brackets."""
    return [
        (c, *(_entry(*column(found, n, c, scenario), THESIS[scenario][c][k]) for k, n in enumerate(COLUMNS))) for c in CONNECTORS
    ]


def ablation_rows(found: Found) -> list[tuple[str, ...]]:
    """Table 7."""
    out = []
    for c in CONNECTORS:
        cells = []
        for arm, (before, after) in zip(ARMS, THESIS_ABLATION[c], strict=True):
            parts = [column(found, n, c, "II", arm) for n in ("offline", "online")]
            ours = " -> ".join(f"{s}/{n}" if n else "-" for s, n in parts)
            cells.append(f"{ours}  ({before} -> {after})")
        out.append((c, *cells))
    return out


def show(found: Found) -> None:
    for scenario, number in (("I", 5), ("II", 6)):
        title = f"Table {number}, scenario {scenario}: successes, the thesis's of 20 in brackets"
        print_table(title, ("", *COLUMNS), rows(found, scenario))
    print_table("Table 7, scenario II: offline -> online", ("", "reward and policy DAIB", "reward DAIB", "neither"), ablation_rows(found))
