"""Faults, each on real processes: what is killed, silent, wrong or doubled is answered by a hold, a reason and a whole recording."""

from __future__ import annotations

import resource
import signal
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from apprentice_core.cell import EpisodeRef, EpisodeRequest, ResetRequest
from apprentice_core.errors import ApprenticeError
from apprentice_store.bag_reader import digest_mismatches, read_episode
from apprentice_store.store import Store

pytestmark = pytest.mark.timeout(120)


class Running:
    """An episode that runs in a thread while the test does harm."""

    def __init__(self, processes, cell, request: EpisodeRequest):
        self._wait_until = processes.wait_until
        self.phases: list[tuple[str, int]] = []
        self.outcome: list[EpisodeRef | BaseException] = []
        self._thread = threading.Thread(target=self._run, args=(cell, request))
        self._thread.start()

    def _run(self, cell, request: EpisodeRequest) -> None:
        try:
            self.outcome.append(cell.run(request, lambda phase, _, step: self.phases.append((phase, step))))
        except BaseException as error:  # noqa: BLE001 - handed to the test
            self.outcome.append(error)

    def reached(self, step: int, timeout: float = 40.0) -> None:
        self._wait_until(lambda: self.outcome or any(p == "running" and s >= step for p, s in self.phases), timeout, f"step {step}")
        assert not self.outcome, self.outcome

    def result(self, timeout: float = 40.0) -> EpisodeRef:
        self._thread.join(timeout)
        assert self.outcome, "the episode did not end"
        if isinstance(self.outcome[0], BaseException):
            raise self.outcome[0]
        return self.outcome[0]


def request(source: str = "random_watcher", mode: str = "none", **more) -> EpisodeRequest:
    return EpisodeRequest("lift_demo", source, ResetRequest(mode, seed=1), **{"steps": 2000, **more})


def test_killed_source_holds_and_the_bag_is_whole(processes, ros) -> None:
    processes.start_cell(cameras=(), scripts=("random_watcher",), episode_node={"answer_timeout": 0.5})
    cell = ros()
    running = Running(processes, cell, request())
    running.reached(10)
    processes.nodes.pop("random_watcher").signal(signal.SIGKILL)
    ref = running.result()
    assert ref.reason == "policy_lost" and ref.truncated and not ref.terminated and ref.lost == 0
    episode = read_episode(Path(ref.path))
    assert episode.outcomes[-1] == "hold" and episode.actors[-1] == "none" and digest_mismatches(episode) == []
    np.testing.assert_array_equal(episode.actions["executed"][-1], np.zeros(7))


def test_source_that_leaves_in_order_is_noticed_at_once(processes, ros) -> None:
    processes.start_cell(cameras=(), scripts=("random_watcher",), episode_node={"answer_timeout": 20.0})
    running = Running(processes, ros(), request())
    running.reached(10)
    assert processes.stop("random_watcher", signal.SIGTERM) == 0
    assert running.result(15.0).reason == "policy_lost"


def test_dead_camera_is_declared_missing_in_lockstep(processes, ros) -> None:
    processes.start_cell(cameras=("wrist_left",), scripts=("random_watcher",), episode_node={"answer_timeout": 0.5})
    running = Running(processes, ros(), request())
    running.reached(10)
    processes.nodes.pop("render_wrist_left").signal(signal.SIGKILL)
    ref = running.result()
    assert ref.reason == "sensor_stale" and ref.truncated and ref.lost == 0
    assert read_episode(Path(ref.path)).outcomes[-3:] == ["hold"] * 3


def test_dead_camera_holds_in_realtime_within_its_age_limit(processes, ros) -> None:
    processes.pace = "realtime"
    processes.start_cell(cameras=("wrist_left",), scripts=("random_watcher",))
    cell = ros(pace="realtime")
    import rclpy

    from apprentice_core.ros_qos import SPINE
    from apprentice_interfaces.msg import SafetyEvent

    held: list[float] = []
    node = cell._node
    cell._in_thread(lambda: node.create_subscription(
        SafetyEvent, "safety/event", lambda m: held.append(time.monotonic()) if m.code == "sensor_stale" else None, SPINE
    ))
    running = Running(processes, cell, request())
    running.reached(20)
    assert rclpy.ok() and not held
    processes.nodes.pop("render_wrist_left").signal(signal.SIGKILL)
    killed = time.monotonic()
    processes.wait_until(lambda: held, 5.0, "the hold")
    ref = running.result()
    assert held[0] - killed < 0.2 + 0.1, f"held after {held[0] - killed:.3f} s (0.1 s allowed for a busy machine)"
    assert ref.reason == "sensor_stale"


def test_second_recorder_refuses(processes, ros) -> None:
    processes.start_cell(cameras=(), scripts=("random_watcher",))
    cell = ros()
    second = processes.start("recorder_node", "recorder_2", data=processes.data)
    assert second.wait() == 2
    assert "recorded into" in second.text and "error:" in second.text
    assert cell.run(request(steps=5)).lost == 0, "the first goes on"


def test_full_disk_ends_the_recording_and_not_the_recorder(processes, ros) -> None:
    processes.start_cell(cameras=(), scripts=("random_watcher",))
    cell = ros()
    assert cell.run(request(steps=5)).lost == 0
    recorder = processes.nodes["recorder_node"]
    # To the writer a file that may not grow is what a full disk is: its write fails.
    resource.prlimit(recorder.pid, resource.RLIMIT_FSIZE, (700_000, resource.RLIM_INFINITY))
    with pytest.raises(ApprenticeError, match="cannot be written"):
        cell.run(request(steps=400))
    assert recorder.poll() is None
    [marked] = processes.data.glob("*.open")
    assert "cannot be written" in (marked / "FAULT").read_text()
    resource.prlimit(recorder.pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    assert cell.run(request(steps=5)).lost == 0


def test_recorder_killed_in_mid_episode_is_repaired(processes, ros) -> None:
    processes.start_cell(cameras=(), scripts=("random_watcher",), episode_node={"commit_timeout": 1.0})
    running = Running(processes, ros(), request(steps=160))
    running.reached(120)
    processes.nodes.pop("recorder_node").signal(signal.SIGKILL)
    with pytest.raises(ApprenticeError, match="did not commit"):
        running.result()
    assert ("running", 149) in running.phases, "the episode itself does not depend on its recorder"
    with Store(processes.data) as store:
        torn = list(processes.data.glob("*.open"))
        assert len(torn) == 1
        store.repair()
        assert not list(processes.data.glob("*.open"))
        rows = store.episodes()
        assert len(rows) == 1 and len(store.read(rows[0].episode_id)) >= 10


def test_a_person_takes_over_and_hands_back_without_a_dropped_tick(processes, ros) -> None:
    from apprentice_core.ros_qos import SPINE
    from apprentice_interfaces.msg import Action, Tick
    from apprentice_runtime.ros_convert import action_to_msg, tick_from_msg
    from apprentice_runtime.tick import Answer

    processes.start_cell(cameras=(), scripts=("random_watcher",))
    cell = ros()
    node, space = cell._node, cell.spec.action_space
    publisher = node.create_publisher(Action, "action/teleop", SPINE)

    def person(message: Tick) -> None:
        plan = tick_from_msg(message)
        if not plan.final:
            engaged = plan.step in range(10, 20) or plan.step in range(25, 30)
            publisher.publish(action_to_msg(Answer(
                plan.step_id, plan.episode_id, "teleop", space.neutral(), action_space=space.name, action_space_hash=space.hash,
                engaged=engaged, stamp=plan.stamp,
            )))

    cell._in_thread(lambda: node.create_subscription(Tick, "tick", person, SPINE))
    processes.wait_until(lambda: publisher.get_subscription_count() >= 3, what="mux, episode node and recorder listen to the person")
    ref = cell.run(request(steps=40))
    episode = read_episode(Path(ref.path))
    assert len(episode) == 40 and set(episode.outcomes) == {"applied"}, "no tick was dropped"
    by_person = [t for t, actor in enumerate(episode.actors) if actor == "teleop"]
    # The machine's answer may come first at the very tick of a change: then the change counts from the next tick.
    assert set(range(11, 20)) | set(range(26, 30)) <= set(by_person) <= set(range(10, 21)) | set(range(25, 31))


def test_nan_from_a_network_is_zero_and_an_event(processes, ros) -> None:
    processes.start_cell(cameras=(), scripts=())
    cell = ros()
    bundle = processes.folder / "nan_bundle"
    write_nan_bundle(bundle, cell.spec)
    processes.start("policy_node", bundle=bundle)
    ref = cell.run(request("policy", steps=5))
    episode = read_episode(Path(ref.path))
    np.testing.assert_array_equal(episode.actions["executed"][:, :6], 0.0)
    events = read_safety_events(Path(ref.path))
    assert [e.code for e in events].count("nan") == 5 and all(e.message.startswith("policy: nan") for e in events if e.code == "nan")


def write_nan_bundle(folder: Path, spec) -> None:
    """A policy whose weights are all NaN: what a diverged training leaves behind."""
    import torch

    from apprentice_learning.bundles import write_policy
    from apprentice_learning.networks.observation import NetworkConfig
    from apprentice_learning.networks.policies import PolicyNetwork

    specs = tuple(a for a in spec.observation if a.name == "tool/pose")
    network = PolicyNetwork(specs, spec.action_space.size, NetworkConfig(proprio=("tool/pose",)))
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.fill_(float("nan"))
    write_policy(
        folder, network, name="diverged", algorithm="bc", action_space=spec.action_space.name, action_space_hash=spec.action_space.hash
    )


def read_safety_events(path: Path) -> list:
    from rosbags.highlevel import AnyReader

    from apprentice_store.typestore import typestore

    with AnyReader([path], default_typestore=typestore()) as reader:
        wanted = [c for c in reader.connections if c.topic.endswith("safety/event")]
        return [reader.deserialize(raw, c.msgtype) for c, _, raw in reader.messages(wanted)] if wanted else []


@pytest.mark.parametrize(
    ("executable", "parameters", "named"),
    [
        ("episode_node", {"patiens": 3}, "patiens"),
        ("episode_node", {"patience": 0}, "patience"),
        ("mux_node", {"residual_timeout": "soon"}, "residual_timeout"),
        ("scripted_node", {"script": "dance"}, "script"),
        ("scripted_node", {"noise": 7.0}, "noise"),
        ("recorder_node", {"poll_period": 1}, "poll_period"),
        ("reward_node", {"source": "nobody"}, "source"),
        ("reset_node", {"cell": "no_such_cell"}, "no_such_cell"),
        ("policy_node", {"bundle": "/nowhere"}, "bundle.json"),
    ],
)
def test_wrong_parameter_is_refused_by_name(processes, executable: str, parameters: dict, named: str) -> None:
    node = processes.start(executable, **parameters)
    assert node.wait(30.0) == 2
    lines = [line for line in node.text.splitlines() if line.startswith("error:")]
    assert len(lines) == 1 and named in lines[0]
