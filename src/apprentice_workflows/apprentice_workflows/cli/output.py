"""What the commands share: JSON on request, tables for people, fractions as percent."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import Annotated, Any

import typer

WIDE = 180
"""columns of a table that goes into a file"""

JsonFlag = Annotated[bool, typer.Option("--json", help="Print one JSON object as the last line of standard output.")]


def print_json(data: Any) -> None:
    """One line, so that a program may take the last line of standard output. NaN and infinity, which JSON does not know, become null."""
    typer.echo(json.dumps(_known(data), default=str, allow_nan=False))


def _known(data: Any) -> Any:
    if isinstance(data, dict):
        return {k: _known(v) for k, v in data.items()}
    if isinstance(data, list | tuple):
        return [_known(v) for v in data]
    return None if isinstance(data, float) and not math.isfinite(data) else data


def print_table(title: str, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    from rich.console import Console
    from rich.table import Table

    console = Console()
    if not console.is_terminal:
        console = Console(width=WIDE)
    table = Table(title=title, title_justify="left")
    for column in columns:
        table.add_column(column, overflow="fold", no_wrap=column == "episode")
    for row in rows:
        table.add_row(*("" if cell is None else str(cell) for cell in row))
    console.print(table)


def percent(fraction: float) -> str:
    return f"{100 * fraction:.0f} %"
