"""`apprentice bench`: the files of benchmarks/, one question each."""

from __future__ import annotations

import sys
from importlib import import_module
from types import ModuleType
from typing import Annotated

import typer

from apprentice_workflows.cli.output import JsonFlag, print_table


def bench_names() -> list[str]:
    """Files of benchmarks/ that define a bench: every module but the shared ones."""
    from apprentice_workflows.project import root

    return sorted(
        p.stem for p in (root() / "benchmarks").glob("*.py") if p.stem not in {"__init__", "common"} and not p.stem.startswith("_")
    )


def load_bench(name: str) -> ModuleType:
    """benchmarks/<name>.py, which has `run(quick: bool) -> BenchResult`; ApprenticeError lists the known names."""
    from apprentice_core.errors import ApprenticeError
    from apprentice_workflows.project import root

    if name not in bench_names():
        raise ApprenticeError(f"no bench named {name!r}; known: {', '.join(bench_names())}")
    if str(root()) not in sys.path:
        sys.path.insert(0, str(root()))
    return import_module(f"benchmarks.{name}")


def bench(
    name: Annotated[str, typer.Argument(help="Which bench; without a name, list them.")] = "",
    quick: Annotated[bool, typer.Option("--quick", help="Fewer repetitions: to see that it runs, not to quote.")] = False,
    as_json: JsonFlag = False,
) -> None:
    """Measure one question of speed as a ratio in one run. Exit code 1 when its target is missed.

    Examples:

      apprentice bench

      apprentice bench sim --json
    """
    if not name:
        print_table("benches", ("name", "question"), [(known, question(known)) for known in bench_names()])
        return
    result = load_bench(name).run(quick)
    if as_json:
        typer.echo(result.to_json())
    else:
        rows = [("ratio", f"{result.ratio:.3f}", f"to reach {result.target:g}: {result.reference}")]
        rows += [(k, f"{m.value:.4g}", m.unit) for k, m in result.measures.items()]
        print_table(f"{name}: {'reached' if result.passed else 'MISSED'}", ("measure", "value", "unit"), rows)
        for failure in result.failures:
            typer.echo(f"missed: {failure}")
    raise typer.Exit(0 if result.passed else 1)


def question(name: str) -> str:
    """First line of the bench's docstring, without running its imports."""
    import ast

    from apprentice_workflows.project import root

    text = ast.get_docstring(ast.parse((root() / "benchmarks" / f"{name}.py").read_text(encoding="utf-8")))
    return (text or "").partition("\n")[0]
