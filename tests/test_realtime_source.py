"""Pace realtime on real processes: a source that is slow for a moment is waited for, one that is dead is not."""

from __future__ import annotations

import signal
import threading
import time
from pathlib import Path

import pytest

from apprentice_core.cell import EpisodeRef, EpisodeRequest, ResetRequest
from apprentice_store.bag_reader import digest_mismatches, read_episode

pytestmark = pytest.mark.timeout(240)
WATCHER = "random_watcher"
PERIOD = 100_000_000
"""of the tick, ns"""


def run(cell, steps: int, when: str = "", harm=lambda: None) -> EpisodeRef:
    """One episode; `harm` is done once, in a thread, when phase `when` is reached."""
    done: list[threading.Thread] = []

    def progress(phase: str, _: str, step: int) -> None:
        if phase == when and not done and (phase != "running" or step >= 10):
            done.append(threading.Thread(target=harm))
            done[0].start()

    ref = cell.run(EpisodeRequest("lift_demo", WATCHER, ResetRequest("none", seed=1), steps=steps), progress)
    for thread in done:
        thread.join()
    return ref


def test_a_stalled_source_is_waited_for_and_a_dead_one_is_lost(processes, ros) -> None:
    processes.pace = "realtime"
    processes.start_cell(cameras=(), scripts=(WATCHER,), reward_node=None, episode_node={"reward_sources": "['']"})
    cell, watcher = ros(pace="realtime"), processes.nodes[WATCHER]

    asleep: list[int] = []

    def stall(seconds: float) -> None:
        watcher.signal(signal.SIGSTOP)
        asleep[:] = [time.time_ns()]
        time.sleep(seconds)
        asleep.append(time.time_ns())
        watcher.signal(signal.SIGCONT)

    assert run(cell, 3).steps == 3  # all have met
    processes.wait_until(lambda: "ticks were off their period by" in processes.nodes["episode_node"].text, 5.0, "the jitter in the log")
    # Asleep from before its first tick on: several periods, more than a busy machine or a network's first call take.
    ref = run(cell, 10, "resetting", lambda: stall(1.0))
    episode = read_episode(Path(ref.path))
    assert (ref.reason, len(episode), ref.lost) == ("horizon", 10, 0)
    assert episode.outcomes[0] == "applied" and episode.actors[0] == WATCHER, "the episode begins with the first answer"

    ref = run(cell, 40, "running", lambda: stall(0.8))
    if ref.reason == "sensor_stale":
        # A core of the machine stood still for a fifth of a second, and the cell rightly ended the episode for that: once more.
        ref = run(cell, 40, "running", lambda: stall(0.8))
    episode = read_episode(Path(ref.path))
    assert (ref.reason, len(episode), ref.lost) == ("horizon", 40, 0)
    held = [t for t, outcome in enumerate(episode.outcomes) if outcome == "hold"]
    # Every tick that went out while the source slept, some eight, and fewer only where the machine itself stood still; the last one's
    # answer may still have come in its period.
    unanswered = [t for t, stamp in enumerate(episode.stamps["tick"][:-1]) if asleep[0] <= stamp <= asleep[1] - PERIOD]
    assert unanswered and set(unanswered) <= set(held) and len(held) < 30
    assert held[0] >= 10 and episode.outcomes[-1] == "applied" and digest_mismatches(episode) == []

    killed: list[float] = []
    ref = run(cell, 400, "running", lambda: (killed.append(time.monotonic()), processes.nodes.pop(WATCHER).signal(signal.SIGKILL)))
    if ref.reason == "sensor_stale":
        # Likewise.
        where = {"pace": "realtime", "cell": processes.cell, "task": processes.task, "script": WATCHER}
        processes.start("scripted_node", WATCHER, **where)
        killed.clear()
        ref = run(cell, 400, "running", lambda: (killed.append(time.monotonic()), processes.nodes.pop(WATCHER).signal(signal.SIGKILL)))
    assert ref.reason == "policy_lost" and ref.truncated and ref.lost == 0 and time.monotonic() - killed[0] < 6.0
    assert set(read_episode(Path(ref.path)).outcomes[-10:]) == {"hold"}
