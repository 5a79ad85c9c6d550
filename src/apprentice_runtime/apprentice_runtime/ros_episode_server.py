"""`run_episode` (RunEpisode) as ROS serves it: goals in, feedback and one result out. EpisodeMachine decides, this carries."""

from __future__ import annotations

import json
import time
from collections.abc import Callable

from rclpy.action import ActionServer, CancelResponse, GoalResponse
from rclpy.action.server import ServerGoalHandle
from rclpy.task import Future

from apprentice_core.config import TaskConfig
from apprentice_core.ros_node import ApprenticeNode
from apprentice_interfaces.action import RunEpisode
from apprentice_runtime.episode_machine import EpisodeMachine, EpisodeResult, Goal
from apprentice_runtime.ros_convert import read_metadata


class EpisodeServer:
    """One goal at a time. `blocked()` gives a reason why none can be taken now, or ''."""

    def __init__(
        self, node: ApprenticeNode, machine: EpisodeMachine, task: TaskConfig, sources: tuple[str, ...], blocked: Callable[[], str]
    ):
        self._node, self._machine, self._task, self._sources, self._blocked = node, machine, task, sources, blocked
        self._handle: ServerGoalHandle | None = None
        self._done: Future | None = None
        self._server = ActionServer(
            node, RunEpisode, "run_episode", execute_callback=self._execute, goal_callback=self._on_goal,
            handle_accepted_callback=self._on_accepted, cancel_callback=self._on_cancel,
        )

    def _goal(self, request: RunEpisode.Goal) -> Goal:
        return Goal(
            request.task, request.source, request.reset_mode, request.initial_state, None if request.seed < 0 else request.seed,
            request.steps, request.end_on_success, request.record, request.continues, tuple(request.tags), read_metadata(request.metadata),
        )

    def _refusal(self, request: RunEpisode.Goal) -> str:
        try:
            goal = self._goal(request)
        except (ValueError, json.JSONDecodeError) as error:
            return f"metadata: {error}"
        refusal = self._machine.refusal(goal, (self._task.name,), self._sources) or self._blocked()
        starts = [f"{a}/{b}" for a, group in self._task.starts.items() for b in group]
        varied = goal.initial_state in self._task.starts and goal.seed is not None
        if not refusal and goal.initial_state and not varied and goal.initial_state not in starts:
            return f"initial_state {goal.initial_state!r} is unknown; known: {', '.join(starts) or 'none'}"
        return refusal

    def _on_goal(self, request: RunEpisode.Goal) -> GoalResponse:
        refusal = self._refusal(request)
        if refusal:
            self._node.get_logger().error(f"run_episode refused: {refusal}")
        return GoalResponse.REJECT if refusal else GoalResponse.ACCEPT

    def _on_accepted(self, handle: ServerGoalHandle) -> None:
        self._handle, self._done = handle, Future()
        handle.execute()
        self._machine.start(self._goal(handle.request), time.monotonic())

    async def _execute(self, handle: ServerGoalHandle) -> RunEpisode.Result:
        done = self._done
        return await done if done is not None else RunEpisode.Result(message="the episode ended before it began")

    def _on_cancel(self, handle: ServerGoalHandle) -> CancelResponse:
        self._machine.cancel()
        return CancelResponse.ACCEPT

    def feedback(self) -> None:
        run = self._machine.run
        if self._handle is not None and self._handle.is_active:
            self._handle.publish_feedback(RunEpisode.Feedback(
                episode_id=run.context.episode_id if run else "", step=run.steps if run else 0, phase=self._machine.current_phase
            ))

    def finished(self, result: EpisodeResult) -> None:
        handle, done = self._handle, self._done
        self._handle = self._done = None
        if handle is None or done is None:
            return
        message = RunEpisode.Result(
            episode_id=result.episode_id, path=result.path, success=result.success, terminated=result.terminated,
            truncated=result.truncated, reason=result.reason, steps=result.steps, lost=result.lost, message=result.message,
        )
        if handle.is_cancel_requested:
            handle.canceled()
        elif result.ok:
            handle.succeed()
        else:
            handle.abort()
            self._node.get_logger().error(f"run_episode: {result.message}")
        done.set_result(message)
        self._node.wake()

    def destroy(self) -> None:
        self._server.destroy()
