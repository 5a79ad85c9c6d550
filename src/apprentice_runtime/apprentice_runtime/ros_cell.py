"""The cell over ROS (contract 1): the same calls as SimCell, carried by the nodes of a running cell."""

from __future__ import annotations

import json
import queue
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future as Waiter
from concurrent.futures import TimeoutError as WaitTimeout
from pathlib import Path
from typing import Any

import numpy as np
import rclpy
from rcl_interfaces.srv import GetParameters
from rclpy.action import ActionClient
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.task import Future
from std_msgs.msg import String

from apprentice_core.cell import CellSpec, EpisodeRef, EpisodeRequest, ResetRequest, ResetResult, StepResult
from apprentice_core.cell_spec import CELL_SPEC_TOPIC, RobotJoints, cell_spec_from_json
from apprentice_core.errors import ApprenticeError, ConfigError
from apprentice_core.ros_dds import prepare_dds
from apprentice_core.ros_node import ApprenticeNode
from apprentice_core.ros_qos import LATCHED, STATIC
from apprentice_core.spaces import Observation
from apprentice_interfaces.action import RunEpisode
from apprentice_interfaces.srv import EndEpisode, LoadBundle
from apprentice_runtime.reward_watch import ALARM_TOPIC, alarm_from_json
from apprentice_runtime.ros_stepper import RosStepper
from apprentice_store.bag_writer import OPEN

Progress = Callable[[str, str, int], None]
MEETING = 5.0
"""who steps from outside waits so long to be met by the cell's nodes; what still lacks then, the episode's own readiness names, s (ours)"""
UNNAMED = "_NODE_NAME_UNKNOWN_"
"""what the graph calls the node of an endpoint that was discovered before its node was"""
LOOK = 0.05
"""the graph is looked at so often while something lacks in it, s (ours)"""


class RosCell:
    """Talks to the nodes in `namespace` from a thread of its own. Every call blocks until it is done or its time-out says who is silent.

    `run` sends the `run_episode` goal, so that whatever source it names drives. `reset` and `step` make this process an action source
    (`external`) like any other. Raises ApprenticeError with one line that says what to start.
    """

    def __init__(self, namespace: str = "/cell", task: str = "", timeout: float = 20.0, pace: str = "lockstep"):
        self.namespace, self.timeout = namespace, timeout
        self._own_context = not rclpy.ok()
        if self._own_context:
            prepare_dds()
            rclpy.init(args=[], signal_handler_options=rclpy.signals.SignalHandlerOptions.NO)
        self._node = ApprenticeNode("ros_cell", namespace=namespace)
        self._spec: Waiter[tuple[CellSpec, RobotJoints]] = Waiter()
        self._clients: dict[str, Any] = {}
        self._stepper: RosStepper | None = None
        self._episode: Waiter[Any] | None = None
        self._goal_handle: Any = None
        self._pace = pace
        self._alarms: dict[str, str] = {}
        self._reward_sources: list[str] | None = None
        self._node.create_subscription(String, CELL_SPEC_TOPIC, self._on_spec, LATCHED)
        self._node.create_subscription(String, ALARM_TOPIC, self._on_alarm, STATIC)
        self._action = ActionClient(self._node, RunEpisode, "run_episode")
        self._executor = SingleThreadedExecutor()
        self._executor.add_node(self._node)
        self._jobs: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._guard = self._node.create_guard_condition(self._work_off)
        self._closing, self._closed = threading.Event(), False
        self._thread = threading.Thread(target=self._spin, name="ros_cell", daemon=True)
        self._thread.start()
        try:
            self.spec, self.robot = self._spec.result(timeout)
        except WaitTimeout:
            self.close()
            raise ApprenticeError(
                f"no cell answers in namespace {namespace} within {timeout:g} s: is `apprentice launch` running?"
            ) from None
        if task and self.spec.task != task:
            found = self.spec.task
            self.close()
            raise ApprenticeError(f"the cell in {namespace} runs task {found!r}, not {task!r}")
        self.task = self.spec.task

    # the thread

    def _spin(self) -> None:
        try:
            while not self._closing.is_set():
                self._executor.spin_once(timeout_sec=0.2)
        except ExternalShutdownException:
            self._closing.set()

    def _work_off(self) -> None:
        while not self._jobs.empty():
            self._jobs.get()()

    def _in_thread(self, job: Callable[[], None]) -> None:
        self._jobs.put(job)
        self._guard.trigger()

    def _on_spec(self, message: String) -> None:
        if self._spec.done():
            return
        try:
            self._spec.set_result(cell_spec_from_json(message.data))
        except ConfigError as error:
            self._spec.set_exception(error)

    def _on_alarm(self, message: String) -> None:
        node, alarm = alarm_from_json(message.data)
        self._alarms[node] = alarm

    @property
    def alarm(self) -> str:
        """Why practice should stop until a person has looked, by every `supervisor_node`; or empty."""
        return "; ".join(a for a in tuple(self._alarms.values()) if a)

    def _await(self, start: Callable[[], Future], timeout: float | None, what: str) -> Any:
        """Runs `start` in the thread and waits for the future that it gives."""
        waiter: Waiter[Any] = Waiter()

        def finish(future: Future) -> None:
            error = future.exception()
            waiter.set_exception(error) if error else waiter.set_result(future.result())

        self._in_thread(lambda: start().add_done_callback(finish))
        deadline = None if timeout is None else time.monotonic() + timeout
        while True:
            try:
                return waiter.result(0.5)
            except WaitTimeout:
                if self._closing.is_set():
                    raise ApprenticeError(f"the cell was closed while {what} was running") from None
                if deadline is not None and time.monotonic() > deadline:
                    raise ApprenticeError(f"{what} did not answer within {timeout:g} s") from None

    def _call(self, kind: Any, name: str, request: Any, timeout: float | None = None) -> Any:
        if name not in self._clients:
            self._clients[name] = self._node.create_client(kind, name)
        client = self._clients[name]
        if not client.wait_for_service(timeout or self.timeout):
            raise ApprenticeError(f"nobody offers {self.namespace}/{name}")
        return self._await(lambda: client.call_async(request), timeout or self.timeout, name)

    # contract 1

    def run(self, request: EpisodeRequest, progress: Progress | None = None) -> EpisodeRef:
        """One episode by the named source. `progress(phase, episode_id, step)` is called from the cell's thread."""
        result = self._send(request, progress)
        return self._ref(self._finish(result, None))

    def load_bundle(self, path: Path | str, timeout: float = 120.0) -> str:
        """Gives policy_node another bundle, from its next episode on; returns the bundle's id."""
        response = self._call(LoadBundle, "load_bundle", LoadBundle.Request(path=str(Path(path).resolve())), timeout)
        if not response.success:
            raise ApprenticeError(response.message)
        return str(response.bundle_id)

    def end_episode(self, reason: str = "operator", success: bool | None = None) -> None:
        """Ends the running episode at its next observation, with a person's judgement if there is one."""
        response = self._call(EndEpisode, "end_episode", EndEpisode.Request(reason=reason, success=-1 if success is None else int(success)))
        if not response.ok:
            raise ApprenticeError(response.message)

    def reset(self, request: ResetRequest, record: bool = False, steps: int = 0) -> ResetResult:
        """Ends what runs and begins an episode that `step` drives; returns when its first observation is there."""
        began = time.monotonic()
        self._leave()
        if self._stepper is None:
            rewards, ready = self._meet_episode_node(), Waiter[RosStepper]()
            self._in_thread(lambda: ready.set_result(RosStepper(self._node, self.spec, self.robot, self._pace == "lockstep", rewards)))
            self._stepper = ready.result(self.timeout)
            self._stepper.meet(MEETING)
        self._stepper.begin()
        self._episode = self._send(EpisodeRequest(self.task, "external", request, steps, record=record), None)
        while not self._stepper.wait(0.2):
            if self._episode.done():
                message = self._finish(self._episode, 1.0).message
                self._episode = None
                return ResetResult(False, duration=time.monotonic() - began, reason=message)
        return ResetResult(True, duration=time.monotonic() - began)

    def observe(self) -> Observation:
        """The observation of the current tick; ApprenticeError before `reset`."""
        if self._stepper is None or self._stepper.current is None:
            raise ApprenticeError("call reset first")
        return self._stepper.current.observation

    def step(self, action: np.ndarray) -> StepResult:
        """Answers the current tick and waits for the next observation; float32 [A] in [-1, 1]."""
        if self._stepper is None or self._episode is None:
            raise ApprenticeError("call reset first")
        return self._stepper.step(action, self.timeout)

    def close(self) -> None:
        """Leaves an episode that `step` drives, and ends the thread; a second call does nothing."""
        if self._closed:
            return
        self._closed = True
        if not self._closing.is_set():
            self._leave()
        self._closing.set()
        self._thread.join(timeout=5.0)
        self._executor.remove_node(self._node)
        self._action.destroy()
        self._node.destroy_node()
        self._executor.shutdown()
        if self._own_context:
            rclpy.try_shutdown()

    def __enter__(self) -> RosCell:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # goals

    def _meet_episode_node(self) -> list[str]:
        """Reward sources of the cell, by its episode_node: not all of them need to have been discovered yet.

        It also makes sure that goals are answered: an action's server sends an answer once, heard or not. Discovery tells of endpoints in
        the order of their making, so who answers the younger client of parameters knows the action's.
        """
        if not self._action.wait_for_server(self.timeout):
            raise ApprenticeError(f"no episode_node answers in {self.namespace}")
        if self._reward_sources is None:
            answer = self._call(GetParameters, f"{self._ticker()}/get_parameters", GetParameters.Request(names=["reward_sources"]))
            self._reward_sources = [r for v in answer.values for r in v.string_array_value if r]
        return self._reward_sources

    def _ticker(self) -> str:
        """Name of the node that gives the ticks, once discovery has told it."""
        deadline = time.monotonic() + self.timeout
        while time.monotonic() < deadline:
            names = {i.node_name for i in self._node.get_publishers_info_by_topic("tick")} - {UNNAMED}
            if names:
                return min(names)
            time.sleep(LOOK)
        raise ApprenticeError(f"nobody gives ticks in {self.namespace}")

    def _send(self, request: EpisodeRequest, progress: Progress | None) -> Waiter[Any]:
        self._meet_episode_node()
        reset = request.reset
        goal = RunEpisode.Goal(
            task=request.task, source=request.source, reset_mode=reset.mode, initial_state=reset.initial_state,
            seed=-1 if reset.seed is None else reset.seed, steps=request.steps, end_on_success=request.end_on_success,
            record=request.record, continues=request.continues, tags=list(request.tags), metadata=json.dumps(dict(request.metadata)),
        )

        def feedback(message: Any) -> None:
            f = message.feedback
            if progress:
                progress(f.phase, f.episode_id, f.step)

        handle = self._await(lambda: self._action.send_goal_async(goal, feedback), self.timeout, "run_episode")
        if not handle.accepted:
            raise ApprenticeError(f"episode_node refused the episode (task {request.task!r}, source {request.source!r}); its log says why")
        self._goal_handle = handle
        waiter: Waiter[Any] = Waiter()
        self._in_thread(lambda: handle.get_result_async().add_done_callback(lambda f: waiter.set_result(f.result().result)))
        return waiter

    def _finish(self, waiter: Waiter[Any], limit: float | None) -> Any:
        deadline = None if limit is None else time.monotonic() + limit
        while True:
            try:
                return waiter.result(0.2)
            except WaitTimeout:
                if self._closing.is_set() or (deadline is not None and time.monotonic() > deadline):
                    raise ApprenticeError("the episode's result did not come") from None
                if self._node.count_publishers("tick") == 0:
                    raise ApprenticeError("episode_node is gone") from None

    def _ref(self, r: Any) -> EpisodeRef:
        # An open folder is what a recorder leaves that could not go on (a full disk).
        if r.message and (not r.episode_id or not r.path or r.path.endswith(OPEN)):
            raise ApprenticeError(r.message)
        return EpisodeRef(r.episode_id, r.path, r.steps, r.success, r.terminated, r.truncated, r.reason, r.lost)

    def _leave(self) -> None:
        """Cancels an episode that `step` was driving."""
        if self._episode is None:
            return
        if not self._episode.done():
            self._await(self._goal_handle.cancel_goal_async, self.timeout, "cancel")
            if self._stepper is not None:
                self._stepper.stand_by()
        self._finish(self._episode, self.timeout)
        self._episode = None
