"""The claims that `apprentice reproduce` runs again, by name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from apprentice_core.errors import ApprenticeError
from apprentice_workflows.experiments.settings import ExperimentSettings, settings
from apprentice_workflows.wheel.context import WheelContext


@dataclass(frozen=True)
class Experiment:
    """`run(preset, data folder, folder of the result)` gives the result as it was written."""

    name: str
    claim: str
    run: Callable[[str, Path, Path], dict[str, Any]]
    presets: tuple[str, ...] = ("paper", "small", "lowdim", "pixels", "tiny")


def _on_wheel(
    wheel: str, work: Callable[[WheelContext, ExperimentSettings, Path], dict[str, Any]]
) -> Callable[[str, Path, Path], dict[str, Any]]:
    def run(preset: str, data: Path, out: Path) -> dict[str, Any]:
        chosen = settings(preset)
        context = WheelContext.open(wheel, chosen.wheel_preset, data / f"{wheel}-{chosen.wheel_preset}")
        try:
            return work(context, chosen, out)
        finally:
            context.close()

    return run


def _q6(preset: str, data: Path, out: Path) -> dict[str, Any]:
    from apprentice_workflows.cli.progress import stages
    from apprentice_workflows.experiments.q6_ranking import Q6Settings, q6_ranking, quick
    from apprentice_workflows.experiments.result import commit

    chosen = quick(Q6Settings()) if preset == "tiny" else Q6Settings(preset="full" if preset == "paper" else "small")
    with stages() as shown:
        return q6_ranking(out, data / f"q6-{preset}", chosen, commit(), lambda what, done, total, metrics: shown(what, done, total, ""))


def _on_the_job(name: str) -> Callable[[str, Path, Path], dict[str, Any]]:
    def run(preset: str, data: Path, out: Path) -> dict[str, Any]:
        from apprentice_workflows.cli.progress import stages
        from apprentice_workflows.on_the_job.collection import collect
        from apprentice_workflows.on_the_job.models import Job
        from apprentice_workflows.on_the_job.online import job_online
        from apprentice_workflows.on_the_job.rewards import job_rewards
        from apprentice_workflows.on_the_job.settings import settings as job_settings

        with stages() as tell:
            job = Job(data / "on_the_job" / preset, job_settings(preset), tell)
            collect(job.episodes, job.s, tell)
            return job_rewards(job, out) if name == "job_rewards" else job_online(job, out)

    return run


def experiments() -> dict[str, Experiment]:
    """All that are known, by name."""
    from apprentice_workflows.experiments import wheel_claims as w
    from apprentice_workflows.experiments.q6_ranking import CLAIM as Q6
    from apprentice_workflows.on_the_job.online import CLAIM as ONLINE
    from apprentice_workflows.on_the_job.rewards import CLAIM as REWARDS

    def ablation(name: str) -> Callable[[WheelContext, ExperimentSettings, Path], dict[str, Any]]:
        return lambda c, s, out: w.ablation_claim(name, c, s, out)

    found = [Experiment(n, claim.text, _on_wheel("lift_green", ablation(n))) for n, claim in w.CLAIMS.items()]
    found.append(Experiment("q4_turns", "Q4: success rises turn by turn", _on_wheel("lift_green", w.turns_claim),
                            ("paper", "small", "lowdim", "tiny")))
    found.append(Experiment("q6_ranking", Q6, _q6, ("paper", "small", "tiny")))
    for name, text in (("job_rewards", REWARDS), ("job_online", ONLINE)):
        found.append(Experiment(name, text, _on_the_job(name), ("full", "small", "tiny")))
    found.append(Experiment("lift_green", "the full method's success on lift_green", _on_wheel("lift_green", w.success_claim)))
    stack = _on_wheel("stack_green_on_red", w.success_claim)
    found.append(Experiment("stack_green_on_red", "the full method's success on stack_green_on_red", stack, ("paper", "small", "lowdim")))
    cloth = _on_wheel("lift_cloth", w.success_claim)
    found.append(Experiment("lift_cloth", "the full method's success on lift_cloth", cloth, ("paper", "small", "lowdim", "tiny")))
    return {e.name: e for e in (*found, *_residual())}


def _residual() -> list[Experiment]:
    from apprentice_workflows.experiments import insertion_table as t
    from apprentice_workflows.experiments.residual import claims as r
    from apprentice_workflows.experiments.residual import tracking as p

    runs = {
        "residual_efficiency": (r.efficiency, "A-c1, A-c8: residual RL against RL alone"),
        "residual_rotation": (r.rotation, "A-c3: over the rotation of the blocks"),
        "residual_noise": (r.noise, "A-c4: over control noise"),
        "residual_bias": (r.bias, "A-c5: over the bias of the controller"),
        "residual_real_style": (r.real_style, "A-c2: blocks straight or at 20 degrees"),
        "residual_sim_to_real": (r.sim_to_real, "A-c7: from one simulation into another"),
    }
    found = [Experiment(name, claim, run, tuple(r.PRESETS)) for name, (run, claim) in runs.items()]
    found.append(Experiment("pose_tracking", p.CLAIM, p.pose_tracking, tuple(p.PRESETS)))
    return [*found, Experiment("insertion_table", "B-c1 to B-c10: thirteen methods, three connectors", t.insertion_table, tuple(t.PRESETS))]


def experiment(name: str) -> Experiment:
    """ApprenticeError names the experiments that there are."""
    known = experiments()
    if name not in known:
        raise ApprenticeError(f"no experiment {name!r}; known: {', '.join(known)}")
    return known[name]
