"""`apprentice insertion`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from apprentice_workflows.cli.output import JsonFlag, print_json

OUT = Path("bags") / "experiments" / "insertion"
"""where `reproduce insertion_table` looks too"""


def insertion(
    connector: Annotated[str, typer.Argument(help="usb, dsub, model_e, or all.")] = "usb",
    residual: Annotated[bool, typer.Option("--residual", help="Learn on top of the P-controller.")] = False,
    pure: Annotated[bool, typer.Option("--pure", help="Reinforcement learning alone.")] = False,
    demos: Annotated[bool, typer.Option("--demos", help="Reinforcement learning from demonstrations (RL + LfD).")] = False,
    base: Annotated[bool, typer.Option("--base", help="The P-controller alone.")] = False,
    reward: Annotated[
        str, typer.Option("--reward", "-r", help="sparse (electrical), images (goal image) or dense (shaped, with state).")
    ] = "sparse",
    algorithm: Annotated[str, typer.Option("--algorithm", "-a", help="sac or td3, where the table has both; sac by default.")] = "",
    method: Annotated[list[str] | None, typer.Option("--method", "-m", help="Rows of the table by name, or `all`.")] = None,
    seeds: Annotated[int, typer.Option("--seeds", min=1, help="Training runs a cell: seeds 0, 1, ...")] = 1,
    preset: Annotated[str, typer.Option("--preset", "-p", help="full, small or tiny.")] = "small",
    steps: Annotated[int, typer.Option("--steps", min=0, help="Training steps; 0: the preset's.")] = 0,
    noise: Annotated[
        str, typer.Option("--noise", help="command: the commanded goal is off by a millimetre; socket: the part is.")
    ] = "command",
    nodes: Annotated[
        bool, typer.Option("--nodes", help="Train on the processes of insertion.launch.xml, the trainer in one of its own.")
    ] = False,
    out: Annotated[Path, typer.Option("--out", "-o", help="Where episodes, checkpoints and results go.")] = OUT,
    as_json: JsonFlag = False,
) -> None:
    """Learn to insert a connector in the simulated cell, and print the table of success rates beside the thesis's.

    Each run records its episodes as bags, learns from them between episodes, and is judged by 25 executions with perfect and 25 with noisy
    goals. Interrupted or killed, the same command goes on where it was; what has a result is not run again.

    Examples:

      apprentice insertion usb --residual --reward sparse

      apprentice insertion all --base --residual --reward images

      apprentice insertion usb --method all --seeds 3

      apprentice insertion usb --residual --nodes -o bags/insertion-nodes
    """
    from apprentice_core.errors import ApprenticeError
    from apprentice_workflows.cli.progress import stages
    from apprentice_workflows.insertion.methods import CONNECTORS, METHODS, Family, Method, Setting, find
    from apprentice_workflows.insertion.methods import method as method_named
    from apprentice_workflows.insertion.run import run_cells
    from apprentice_workflows.insertion.settings import settings
    from apprentice_workflows.insertion.table import show

    if connector != "all" and connector not in CONNECTORS:
        raise ApprenticeError(f"no connector {connector!r}; known: {', '.join(CONNECTORS)}, all")
    if noise not in ("command", "socket"):
        raise ApprenticeError(f"--noise {noise!r}: command or socket")
    if reward not in ("sparse", "images", "dense"):
        raise ApprenticeError(f"--reward {reward!r}: sparse, images or dense")
    asked: dict[Family, bool] = {"residual": residual, "pure": pure, "demos": demos, "base": base}
    families = [f for f, on in asked.items() if on]
    named = list(METHODS) if method and "all" in method else list(method or ())
    setting: Setting = reward  # type: ignore[assignment]
    chosen: list[Method] = [method_named(n) for n in named]
    chosen += [find(f, setting, algorithm if f in ("residual", "pure") else "") for f in families if not named]
    if not chosen:
        chosen = [find("residual", setting, algorithm)]
    s = settings(preset)
    s = s.model_copy(update={"steps": steps}) if steps else s
    wanted = CONNECTORS if connector == "all" else (connector,)
    cells = [(c, m) for m in chosen for c in wanted if c in m.connectors]
    if not cells:
        raise ApprenticeError(f"{chosen[0].title}: not for {connector}; only {', '.join(chosen[0].connectors)} tells whether it is in")
    with stages() as tell:
        results = run_cells(out, cells, s, range(seeds), tell, noise, nodes)  # type: ignore[arg-type]
    if as_json:
        print_json([r for found in results.values() for r in found])
    else:
        show(results)
