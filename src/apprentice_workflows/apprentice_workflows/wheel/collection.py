"""Steps A and B: demonstrations of the task, and whatever else is recorded, into the one store (spec 000 sections 2.1 to 2.5)."""

from __future__ import annotations

from typing import Any

from apprentice_core.cell import EpisodeRequest
from apprentice_workflows.episodes import Tally, finished, seeded_starts
from apprentice_workflows.wheel.context import DEMO_SEED, OTHER_SEED, WATCHER_SEED, WheelContext
from apprentice_workflows.wheel.rig import WATCHER, Operator

DEMO = "demo"
HOUR = 3600.0


def demonstration_inputs(c: WheelContext, turn: int) -> dict[str, Any]:
    n = c.numbers
    return {"task": c.task, "episodes": n.demonstrations, "failing": n.failing, "noise": n.demo_noise, "steps": n.episode_steps}


def collect_demonstrations(c: WheelContext, turn: int) -> dict[str, Any]:
    """Step A. The failed ones are kept and labelled (spec 000 line 12). The same in every turn, so that only the first has work to do.

    Demonstrations that a person gave (`apprentice collect -s teleop --tag demo`) count; the scripted operator gives the rest.
    """
    tag = c.tag(1, "A", DEMO)
    given = c.rig.tally("people", finished(c.store, f"({c.config.datasets.demos}) and not tag = '{tag}'"))
    wanted = max(0, c.numbers.demonstrations - len(given.refs))
    scripted = _operator_episodes(c, c.task, wanted, DEMO_SEED, tag, (DEMO,))
    tally = Tally("demonstrations", [*given.refs, *scripted.refs])
    return _counts(tally) | {"given_by_people": len(given.refs), "failed": [r.episode_id for r in tally.refs if not r.success]}


def _operator_episodes(c: WheelContext, task: str, count: int, seed: int, tag: str, tags: tuple[str, ...]) -> Tally:
    n = c.numbers
    driver = c.rig.operator_name(task)
    request = EpisodeRequest(task, driver, steps=n.episode_steps, tags=(*tags, tag), metadata=c.metadata(1, operator="scripted"))
    return c.rig.collect(
        f"{driver} on {task}", f"tag = '{tag}'", seeded_starts(count, seed), request, Operator(n.demo_noise, n.failing)
    )


def store_inputs(c: WheelContext, turn: int) -> dict[str, Any]:
    n = c.numbers
    before = c.state.outputs(turn - 1, "F") if turn > 1 else {}
    return {
        "watcher": n.random_watcher, "others": n.other_tasks, "steps": n.episode_steps, "noise": n.demo_noise, "failing": n.failing,
        "demonstrations": c.state.outputs(turn, "A"), "before": before,
    }


def fill_store(c: WheelContext, turn: int) -> dict[str, Any]:
    """Step B: free play and other tasks' episodes where they are wanted; then the store is checked, and what it holds is written down."""
    watched = _watcher_episodes(c)
    others = {
        task: _operator_episodes(c, task, count, OTHER_SEED, c.tag(1, "B", task), ("other_task",))
        for task, count in c.numbers.other_tasks.items()
    }
    check = c.store.check(hashes=False)
    for finding in check.findings:
        # Reported, not fatal: what is damaged is left out by every reader, and the rest is good.
        c.console.print(f"store: {finding.name}: {finding.message} ({finding.code})", highlight=False)
    manifest = c.store.manifest(c.config.datasets.all)
    on_task = c.store.manifest(c.config.datasets.on_task_query, revision=manifest.revision)
    rows = c.store.catalogue.episodes(c.config.datasets.all, revision=manifest.revision)
    return {
        "random_watcher": _counts(watched), "other_tasks": {k: _counts(v) for k, v in others.items()},
        "manifest": manifest.hash, "query": manifest.query, "revision": manifest.revision, "episodes": len(manifest),
        "on_task_episodes": len(on_task), "steps": sum(r.steps for r in rows), "hours": sum(r.duration for r in rows) / HOUR,
        "groups": c.store.stats()["groups"], "findings": [vars(f) for f in check.findings],
    }


def _watcher_episodes(c: WheelContext) -> Tally:
    tag, n = c.tag(1, "B", WATCHER), c.numbers
    request = EpisodeRequest(c.config.watcher, WATCHER, steps=n.episode_steps, tags=(WATCHER, tag), metadata=c.metadata(1))
    return c.rig.collect(WATCHER, f"tag = '{tag}'", seeded_starts(n.random_watcher, WATCHER_SEED), request)


def _counts(tally: Tally) -> dict[str, Any]:
    return {"episodes": len(tally.refs), "successes": tally.successes, "steps": tally.steps, "lost": tally.lost}
