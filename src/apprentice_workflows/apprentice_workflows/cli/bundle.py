"""`apprentice bundle`: model bundles."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from apprentice_workflows.cli.output import JsonFlag, print_json, print_table

app = typer.Typer(no_args_is_help=True, help="Look at a model bundle.")


@app.callback()
def _group() -> None:
    """Look at a model bundle."""


@app.command("show")
def show(folder: Annotated[Path, typer.Argument(help="The bundle's folder.")], as_json: JsonFlag = False) -> None:
    """What a bundle is, reads, commands and descends from; its weights are checked against their hash.

    Example:

      apprentice bundle show bags/demo/bc/bundle
    """
    from apprentice_core.bundle import bundle_id, read_bundle

    manifest, tensors = read_bundle(folder)
    parameters = sum(t.size for t in tensors.values())
    if as_json:
        print_json({"id": bundle_id(manifest), "parameters": parameters, **manifest.model_dump(mode="json")})
        return
    rows = [
        ("id", bundle_id(manifest)),
        ("kind", manifest.kind),
        ("name", manifest.name),
        ("algorithm", manifest.algorithm),
        *(("observes", f"{a.name} {a.dtype}{list(a.shape)} {a.unit}") for a in manifest.observation),
        ("acts in", f"{manifest.action_space} ({manifest.action_space_hash}), every {manifest.control_period} s"),
        ("parameters", f"{parameters:,} in {len(tensors)} tensors"),
        *(("lineage", f"{k}: {v}") for k, v in manifest.lineage.items()),
        *(("refers to", f"{k}: {v}") for k, v in manifest.references.items()),
    ]
    print_table(str(folder), ("what", "value"), rows)
