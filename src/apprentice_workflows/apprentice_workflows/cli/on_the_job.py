"""`apprentice on-the-job`: chapter 10 in the simulated family of connectors, step by step."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from apprentice_workflows.cli.output import JsonFlag, print_json, print_table

if TYPE_CHECKING:
    from apprentice_workflows.on_the_job.models import Job
    from apprentice_workflows.on_the_job.starts import Scenario

app = typer.Typer(no_args_is_help=True, help="Reward models and policies that carry over to connectors nobody has seen, and practice.")
PresetOption = Annotated[str, typer.Option("--preset", "-p", help="full (128 px, for a GPU), small, small_c13 or tiny.")]
OutOption = Annotated[Path, typer.Option("--out", "-o", help="Where episodes, models and results go, a folder a preset.")]
SeedsOption = Annotated[int, typer.Option("--seeds", min=0, help="Seeds 0, 1, ...; 0: the preset's.")]
SeedOption = Annotated[int, typer.Option("--seed", min=0)]
ConnectorArgument = Annotated[str, typer.Argument(help="Such as dt12_1, megablock_1x1, nema_15, europlug, which are held out.")]
ArmOption = Annotated[
    str, typer.Option("--arm", "-a", help="daib_daib, daib_erm or erm_erm: representation of the reward model and of the policy.")
]
ScenarioOption = Annotated[str, typer.Option("--scenario", "-s", help="I: starts within 10 mm; II: 10 to 20 mm aside; II_annulus.")]
OUT = Path("bags") / "experiments" / "on_the_job"
"""where `apprentice reproduce job_rewards` and `job_online` look, too"""


@contextmanager
def _job(preset: str, out: Path, only: list[str] | None = None) -> Iterator[Job]:
    from apprentice_workflows.cli.progress import stages
    from apprentice_workflows.on_the_job.models import Job
    from apprentice_workflows.on_the_job.settings import settings

    with stages() as tell:
        yield Job(out / preset, settings(preset), tell, only or ())


def _scenario(name: str) -> Scenario:
    from apprentice_core.errors import ApprenticeError

    if name not in ("I", "II", "II_annulus"):
        raise ApprenticeError(f"no scenario {name!r}; known: I, II, II_annulus")
    return name  # type: ignore[return-value]


@app.command("collect")
def collect(preset: PresetOption = "small", out: OutOption = OUT) -> None:
    """Record the scripted collector on every connector and both robots. Killed, the same command goes on with the next domain."""
    from apprentice_workflows.on_the_job.collection import collect as run

    with _job(preset, out) as job:
        run(job.episodes, job.s, job.tell)
        data = job.data
    typer.echo(
        f"{len(data.domains)} domains, {len(data.episodes)} trajectories, {len(data.frames)} frames, {data.success.mean():.0%} of them in"
    )


@app.command("rewards")
def rewards(
    preset: PresetOption = "small", out: OutOption = OUT, seeds: SeedsOption = 0,
    method: Annotated[list[str] | None, typer.Option("--method", "-m", help="daib, vib, daib_lambda0, erm, dann; all by default.")] = None,
    as_json: JsonFlag = False,
) -> None:
    """Table 8: accuracy of the success classifier on held-out connectors, for the five representations."""
    from apprentice_learning.representations.config import METHOD_NAMES
    from apprentice_workflows.cli.output import percent
    from apprentice_workflows.on_the_job.rewards import cells, run_grid

    with _job(preset, out) as job:
        chosen = [m for m in METHOD_NAMES if m in method] + [m for m in method if m not in METHOD_NAMES] if method else METHOD_NAMES
        found = cells(run_grid(job, chosen, range(seeds) if seeds else job.s.reward_seeds))  # type: ignore[arg-type]
    if as_json:
        print_json(found)
        return
    columns = ("representation", "seeds", "accuracy", "95 % interval", "false positives", "probe z_I / z_S / chance", "thesis")
    rows = []
    for c in found:
        probe = " / ".join("-" if v is None else f"{v:.2f}" for v in c["probe"].values())
        rate = (percent(c["accuracy"]), f"{percent(c['low'])} to {percent(c['high'])}", percent(c["false_positive_rate"]))
        rows.append((c["name"].split(", ")[1], c["seeds"], *rate, probe, percent(c["paper"])))
    print_table("Table 8: accuracy on held-out connectors", columns, rows)


@app.command("train")
def train(
    preset: PresetOption = "small", out: OutOption = OUT, seed: SeedOption = 0,
    arm: ArmOption = "daib_daib",
    connector: Annotated[list[str] | None, typer.Option("--connector", "-c", help="Train on these; held-out ones are refused.")] = None,
) -> None:
    """Train reward model, localiser and offline policy on all connectors that are not held out. Interrupted, it goes on where it was."""
    from apprentice_core.errors import ApprenticeError
    from apprentice_learning.representations.on_the_job import ABLATION

    if arm not in ABLATION:
        raise ApprenticeError(f"no arm {arm!r}; known: {', '.join(ABLATION)}")
    with _job(preset, out, connector) as job:
        of_reward, of_policy = ABLATION[arm]
        job.reward(of_reward, seed)
        job.localiser(seed)
        job.policy(of_policy, seed)
        for kind in (f"reward_{of_reward}", "localiser", f"policy_{of_policy}"):
            typer.echo(job.models(kind, seed))


@app.command("probe")
def probe(
    preset: PresetOption = "small", out: OutOption = OUT, seed: SeedOption = 0,
    method: Annotated[list[str] | None, typer.Option("--method", "-m", help="Representation of the reward model; daib by default.")] = None,
    as_json: JsonFlag = False,
) -> None:
    """What a trained reward model's latents still tell of the training domain, and whether its adversary is at work (C13)."""
    from dataclasses import asdict

    from apprentice_core.errors import ApprenticeError
    from apprentice_learning.representations.config import METHOD_NAMES
    from apprentice_learning.representations.probe import probe_report

    unknown = sorted(set(method or ()) - set(METHOD_NAMES))
    if unknown:
        raise ApprenticeError(f"no representation {', '.join(unknown)}; known: {', '.join(METHOD_NAMES)}")
    with _job(preset, out) as job:
        found = {m: asdict(probe_report(job.reward(m, seed), seed=seed)) for m in method or ["daib"]}  # type: ignore[arg-type]
    if as_json:
        print_json(found)
        return
    columns = ("representation", "domains", "chance", "z_I", "z_S", "z_I augmented", "adversary", "its dead units", "scale of z_I")
    rows = [(m, *("-" if v != v else f"{v:.3g}" for v in r.values())) for m, r in found.items()]
    print_table("Accuracy of fresh linear probes of the training domain, and of the adversary itself", columns, rows)


@app.command("localiser")
def localiser(preset: PresetOption = "small", out: OutOption = OUT, seed: SeedOption = 0, as_json: JsonFlag = False) -> None:
    """Where the trained localiser errs: by the plug's distance from the socket, along its camera's line of sight and across it. Look at it
    before policies are trained: they see no more than it does."""
    from dataclasses import asdict

    from apprentice_workflows.on_the_job.models import localiser_errors

    with _job(preset, out) as job:
        found = localiser_errors(job, seed)
    if as_json:
        print_json({k: [asdict(r) for r in rows] for k, rows in found.items()})
        return
    columns = ("plug aside by", "frames", "median along", "median across", "90 % below")
    for name, rows in found.items():
        shown = [(f"{r.near:g} to {r.far:g} mm", r.frames, *(f"{v:.2f}" for v in (r.along, r.across, r.p90))) for r in rows]
        print_table(f"Localiser on connectors {name}, mm", columns, shown)


@app.command("practise")
def practise(
    connector: ConnectorArgument, preset: PresetOption = "small", out: OutOption = OUT, scenario: ScenarioOption = "II",
    arm: ArmOption = "daib_daib", seed: SeedOption = 0,
    trials: Annotated[int, typer.Option("--trials", min=0, help="Trials of practice; 0: the preset's (200).")] = 0,
    go_on: Annotated[bool, typer.Option("--go-on", help="Go on when the alarm fires, as the thesis's protocol does.")] = False,
    as_json: JsonFlag = False,
) -> None:
    """Practise on a connector that no model was trained on, rewarded by the robot's own eyes; judged before and after.

    The alarm ends practice when R has praised ten failed trials in a row.
    """
    from apprentice_core.errors import ApprenticeError
    from apprentice_workflows.on_the_job.practice import Cell, run_practice

    with _job(preset, out) as job:
        if connector not in job.registry.forbidden:
            raise ApprenticeError(f"{connector} is in the training set; held out are: {', '.join(sorted(job.registry.forbidden))}")
        found = run_practice(job, Cell(arm, connector, _scenario(scenario), seed), not go_on, trials)
    if as_json:
        print_json(found)
        return
    for part in ("offline", "online"):
        typer.echo(f"{part}: {found[part]['successes']}/{found[part]['episodes']}")
    inside, contact = sum(found["training_successes"]), found["first_contact_trial"]
    typer.echo(f"practice: {found['trials']} trials, {inside} of them in; first contact in trial {contact}")
    typer.echo(f"R against the truth: {found['confusion']}")
    if found["alarm_trial"]:
        ended = ", practice ended" if found["stopped_by_alarm"] else ""
        typer.echo(f"alarm: after trial {found['alarm_trial']} R had praised ten failures in a row{ended}")


@app.command("evaluate")
def evaluate(
    connector: ConnectorArgument, preset: PresetOption = "small", out: OutOption = OUT, scenario: ScenarioOption = "I",
    method: Annotated[list[str] | None, typer.Option("--method", "-m", help="localize, straight, random, spiral; all by default.")] = None,
    seed: SeedOption = 0, as_json: JsonFlag = False,
) -> None:
    """Trials of the scripted baselines on a connector; in scenario II they go first to where the localiser says."""
    from apprentice_workflows.on_the_job.baselines import BASELINES
    from apprentice_workflows.on_the_job.practice import Cell, run_baseline

    with _job(preset, out) as job:
        found = {m: run_baseline(job, Cell(m, connector, _scenario(scenario), seed)) for m in method or BASELINES}
    if as_json:
        print_json(found)
        return
    for name, result in found.items():
        typer.echo(f"{name}: {result['result']['successes']}/{result['result']['episodes']}")


@app.command("table")
def table(preset: PresetOption = "small", out: OutOption = OUT, seeds: SeedsOption = 0) -> None:
    """Run what is missing of Tables 5 to 7 and print them beside the thesis's."""
    from apprentice_workflows.on_the_job.online import run_cells
    from apprentice_workflows.on_the_job.tables import show

    with _job(preset, out) as job:
        found = run_cells(job, tuple(range(seeds)) if seeds else job.s.seeds)
    show(found)
