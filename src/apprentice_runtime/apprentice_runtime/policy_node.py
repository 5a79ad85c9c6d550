"""A policy that drives: a bundle as an action source. Inference runs on a thread of its own; bundles change between episodes only."""

from __future__ import annotations

import threading
from pathlib import Path

from rclpy.task import Future

from apprentice_core.cell import ActionSource, CellSpec
from apprentice_core.errors import ApprenticeError
from apprentice_core.ros_node import ApprenticeNode, Param, run_node
from apprentice_core.ros_qos import LATCHED
from apprentice_interfaces.msg import PolicyStatus
from apprentice_interfaces.srv import LoadBundle
from apprentice_learning.runner import PolicyRunner
from apprentice_runtime.empty_policy import EmptyPolicy
from apprentice_runtime.ros_convert import wall_time
from apprentice_runtime.ros_source import SourceShell

PARAMETERS = (
    Param("bundle", "", "folder of the policy bundle to start with; empty: wait for load_bundle"),
    Param("source", "policy", "name of this source"),
    Param("exploration_noise", 0.0, "sigma of the noise that is added and recorded, in [-1, 1] units", bounds=(0.0, 1.0)),
    Param("pace", "lockstep", "pace of the cell", choices=("lockstep", "realtime")),
)


class PolicyNode(ApprenticeNode):
    def __init__(self) -> None:
        super().__init__("policy_node", PARAMETERS)
        s = self.settings
        self._spec: CellSpec | None = None
        self._path = s["bundle"]
        self._next: PolicyRunner | None = PolicyRunner(s["bundle"], None, s["exploration_noise"], s["source"]) if s["bundle"] else None
        self._status = self.create_publisher(PolicyStatus, "policy/status", LATCHED)
        self._shell = SourceShell(
            self, s["source"], self._first, s["pace"] == "lockstep", worker=True, before_episode=lambda _, current: self._take_up(current)
        )
        self.create_service(LoadBundle, "load_bundle", self._on_load)
        self.steady_timer(1.0, self._report)
        self._tell("waiting for the cell's spec" if self._next else "no bundle; call load_bundle")

    def _fit(self, runner: PolicyRunner) -> PolicyRunner:
        """ApprenticeError when the bundle does not fit the cell's observation and action space."""
        if self._spec is not None:
            runner.check(self._spec.observation)
            space = self._spec.action_space
            if runner.manifest.action_space_hash not in ("", space.hash):
                raise ApprenticeError(
                    f"{self._path}: action_space_hash: trained for {runner.manifest.action_space}, the cell has {space.name} ({space.hash})"
                )
        return runner

    def _first(self, spec: CellSpec) -> ActionSource:
        self._spec = spec
        if self._next is None:
            return EmptyPolicy(self.settings["source"], spec.action_space)
        try:
            source = self._fit(self._next)
        except ApprenticeError as error:
            # The same end as for any other malformed bundle: one line, exit 2.
            self.get_logger().fatal(str(error))
            self.request_stop(2)
            return EmptyPolicy(self.settings["source"], spec.action_space)
        self._next = None
        self._tell("ready", source.bundle_id)
        return source

    def _take_up(self, current: ActionSource) -> ActionSource:
        """At the start of an episode: a bundle that was loaded meanwhile takes over."""
        if self._next is not None:
            current, self._next = self._next, None
            self._tell("ready", current.bundle_id)
        return current

    async def _on_load(self, request: LoadBundle.Request, response: LoadBundle.Response) -> LoadBundle.Response:
        # Reading weights takes longer than a tick may wait, so a thread does it and this coroutine goes on when it is done.
        done = Future(executor=self.executor)
        threading.Thread(target=self._load, args=(request.path, done), name="load bundle", daemon=True).start()
        runner = await done
        if isinstance(runner, str):
            response.message = runner
            self.get_logger().error(runner)
            return response
        try:
            self._path = request.path
            self._next = self._fit(runner)
        except ApprenticeError as error:
            response.message = str(error)
            return response
        response.success, response.bundle_id = True, runner.bundle_id
        response.message = "taken up with the next episode"
        if not self._shell.driving and self._shell.source is not None:
            self._shell.source = self._take_up(self._shell.source)
            response.message = "ready"
        return response

    def _load(self, path: str, done: Future) -> None:
        try:
            done.set_result(PolicyRunner(Path(path), None, self.settings["exploration_noise"], self.settings["source"]))
        except (ApprenticeError, OSError) as error:
            done.set_result(str(error))
        self.wake()

    def _tell(self, message: str, bundle_id: str = "") -> None:
        self._status.publish(PolicyStatus(
            stamp=wall_time(), source=self.settings["source"], bundle_id=bundle_id, bundle_path=self._path, ready=bool(bundle_id),
            message=message,
        ))

    def _report(self) -> None:
        source = self._shell.source
        ready = source is not None and bool(source.bundle_id)
        self.diagnose("policy", 0 if ready else 1, "ready" if ready else "no bundle", {
            "bundle": source.bundle_id if source else "", **self._shell.statistics(),
        })

    def close(self) -> None:
        self._shell.close()


def main() -> None:
    run_node(PolicyNode)


if __name__ == "__main__":
    main()
