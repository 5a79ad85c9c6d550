"""The supervisor as a process: an operator is told when the reward that is learned from is fooled, and it stays told (B26, C35)."""

from __future__ import annotations

import pytest
from diagnostic_msgs.msg import DiagnosticArray
from geometry_msgs.msg import Point, Pose, Twist
from std_msgs.msg import String
from std_srvs.srv import Trigger
from test_io_nodes import Peer

from apprentice_core.cell_factory import make_cell_spec
from apprentice_core.cell_spec import CELL_SPEC_TOPIC, cell_spec_to_json
from apprentice_core.config import load_cell, load_robot, load_task
from apprentice_core.errors import ApprenticeError
from apprentice_core.ros_qos import LATCHED, SPINE, STATIC
from apprentice_core.ros_time import to_time
from apprentice_interfaces.msg import EpisodeEvent, ObjectStates, Reward, SafetyEvent
from apprentice_runtime.reward_watch import alarm_from_json
from apprentice_store.store import Store
from apprentice_studio.alarms import AlarmBoard
from apprentice_workflows.insertion.curve import Curve
from apprentice_workflows.insertion.methods import method
from apprentice_workflows.insertion.nodes import NodeRun
from apprentice_workflows.insertion.rig import Rig

pytestmark = pytest.mark.timeout(150)


def test_both_alarms_reach_the_operator_and_practice_stops(processes, ros, tmp_path) -> None:
    processes.start("supervisor_node", "classified", reward="classifier", trials=2)
    processes.start("supervisor_node", "pictured", reward="goal_image")
    peer = Peer(processes.domain)
    try:
        told, diagnosed = peer.listen(SafetyEvent, "safety/event", SPINE), peer.listen(DiagnosticArray, "/diagnostics", 10)
        standing = peer.listen(String, "supervisor/alarm", STATIC)
        events, objects = (peer.node.create_publisher(k, t, SPINE) for k, t in (
            (EpisodeEvent, "episode/event"), (ObjectStates, "privileged/objects")))
        rewards = {s: peer.node.create_publisher(Reward, f"reward/{s}", SPINE) for s in ("classifier", "goal_image", "scripted")}
        peer.until(lambda: events.get_subscription_count() == 2 and rewards["scripted"].get_subscription_count() == 2
                   and rewards["classifier"].get_subscription_count() == 1 and rewards["goal_image"].get_subscription_count() == 1
                   and objects.get_subscription_count() == 1 and len(standing) == 2, "both supervisors listen")

        def episode(name: str, probability: float, pictures: list[float], kind: str = "episode") -> None:
            events.publish(EpisodeEvent(event=EpisodeEvent.START, episode_id=name, kind=kind))
            peer.until(lambda: peer.executor.spin_once(timeout_sec=0.2) or True, "the start is heard")
            for i, value in enumerate(pictures):
                stamp = to_time(1_000_000_000 * (1 + i))
                poses = [Pose(position=Point(x=0.6 + 0.008, y=0.0, z=0.02)), Pose(position=Point(x=0.6, y=0.0, z=0.0))]
                state = ObjectStates(names=["plug", "socket"], poses=poses, twists=[Twist(), Twist()])
                state.header.stamp = stamp
                objects.publish(state)
                for source, v, p in (("classifier", 1.0, probability), ("goal_image", value, 0.0), ("scripted", 0.0, 0.0)):
                    message = Reward(episode_id=name, source=source, names=["x"], values=[v], probabilities=[p], valid=[True])
                    message.header.stamp = stamp
                    peer.executor.spin_once(timeout_sec=0.05)
                    rewards[source].publish(message)
            events.publish(EpisodeEvent(event=EpisodeEvent.END, episode_id=name, kind=kind))

        episode("01", 0.9, [-1.0, -0.9])
        episode("reset", 0.9, [-1.0, -0.9], kind="reset")
        assert not told
        episode("02", 0.9, [-1.0, -0.2])
        peer.until(lambda: len(told) == 2, "both alarms")
        kinds = {m.code: m for m in told}
        assert "8.0 mm beside" in kinds["reward_hack"].message and kinds["reward_hack"].outcome == "hold"
        assert "2 trials in a row" in kinds["reward_exploited"].message and kinds["reward_exploited"].outcome == "stop"
        board = AlarmBoard()
        for m in told:
            board.event({"code": m.code, "stage": m.stage, "outcome": m.outcome, "message": m.message}, 0.0)
        assert {(a["level"], a["source"]) for a in board.listing()} == {("error", "supervisor_node"), ("warning", "supervisor_node")}
        standing_now = [d for a in diagnosed for d in a.status if d.name == "classified: reward" and d.level == b"\x02"]
        peer.until(lambda: standing_now or any(d.name == "classified: reward" and d.level == b"\x02" for a in diagnosed for d in a.status),
                   "the alarm stands in Watch until somebody has looked")
        assert any("2 trials" in m.data for m in standing)
        # Who practises on the cell does not begin another episode.
        spec = make_cell_spec(load_robot("sawyer"), load_cell("sawyer_lift"), load_task("lift"), ())
        latched = peer.node.create_publisher(String, CELL_SPEC_TOPIC, LATCHED)
        latched.publish(String(data=cell_spec_to_json(spec, load_robot("sawyer"))))
        cell = ros()
        peer.until(lambda: "2 trials" in cell.alarm, "the cell's own client knows")
        rig, chosen = Rig("usb", tmp_path), method("residual_sparse_sac")
        with Store(tmp_path / "bags") as store:
            run = NodeRun(rig, chosen, 0, Curve(store, tmp_path, 20), "", cell)
            with pytest.raises(ApprenticeError, match="practice stops: 2 trials"):
                run.episode(tmp_path / "bundle")
        client = peer.node.create_client(Trigger, "supervisor/clear")
        assert client.wait_for_service(10.0)
        answer = client.call_async(Trigger.Request())
        peer.until(answer.done, "the clearing")
        assert answer.result().success
        peer.until(lambda: alarm_from_json(standing[-1].data)[1] == "", "nothing stands any more")
    finally:
        peer.close()
