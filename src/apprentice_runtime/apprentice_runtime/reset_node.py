"""Brings the arm home, or a held plug to an episode's start, through the safety chain: the source that drives reset episodes."""

from __future__ import annotations

from apprentice_control.kinematics import Kinematics
from apprentice_control.scripted import HomeReset, ToolReset
from apprentice_core.cell import ActionSource, CellSpec
from apprentice_core.config import RobotProfile, load_cell, load_robot
from apprentice_core.ros_node import ApprenticeNode, Param, run_node
from apprentice_runtime.ros_source import SourceShell

PARAMETERS = (
    Param("cell", "sawyer_lift", "cell config"),
    Param("source", "reset", "name of this source"),
    Param("kind", "home", "home: opens the gripper, all joints home; tool: keeps what it holds, to the episode's start",
          choices=("home", "tool")),
    Param("speed", 0.6, "home: largest joint speed on the way, rad/s; the safety chain may allow less", bounds=(0.01, 3.0)),
    Param("tolerance", 0.01, "home: joint error at which the arm counts as there, rad", bounds=(0.0001, 0.5)),
    Param("pace", "lockstep", "pace of the cell", choices=("lockstep", "realtime")),
)


class ResetNode(ApprenticeNode):
    def __init__(self) -> None:
        super().__init__("reset_node", PARAMETERS)
        s = self.settings
        cell = load_cell(s["cell"])
        profile = load_robot(cell.robot)
        self._shell = SourceShell(self, s["source"], lambda spec: self._make(profile, spec), s["pace"] == "lockstep", pictures=False)
        self.steady_timer(1.0, lambda: self.diagnose("reset", 0, "ready", self._shell.statistics()))

    def _make(self, profile: RobotProfile, spec: CellSpec) -> ActionSource:
        s, kinematics, period = self.settings, Kinematics(profile), spec.timing.control_period
        if s["kind"] == "tool":
            return ToolReset(profile, kinematics, period, name=s["source"])
        return HomeReset(profile, kinematics, period, s["speed"], s["tolerance"], name=s["source"])

    def close(self) -> None:
        self._shell.close()


def main() -> None:
    run_node(ResetNode)


if __name__ == "__main__":
    main()
