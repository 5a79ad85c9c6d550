"""What the commands share: JSON on request, tables for people, fractions as percent."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Annotated, Any

import typer

JsonFlag = Annotated[bool, typer.Option("--json", help="Print one JSON object as the last line of standard output.")]


def print_json(data: Any) -> None:
    """One line, so that a program may take the last line of standard output."""
    typer.echo(json.dumps(data, default=str))


def print_table(title: str, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(*columns, title=title, title_justify="left")
    for row in rows:
        table.add_row(*("" if cell is None else str(cell) for cell in row))
    Console().print(table)


def percent(fraction: float) -> str:
    return f"{100 * fraction:.0f} %"
