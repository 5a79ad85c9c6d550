"""Brings the arm home through the same safety chain as every action: the action source that drives reset episodes."""

from __future__ import annotations

from apprentice_control.kinematics import Kinematics
from apprentice_control.scripted import HomeReset
from apprentice_core.config import load_cell, load_robot
from apprentice_core.ros_node import ApprenticeNode, Param, run_node
from apprentice_runtime.ros_source import SourceShell

PARAMETERS = (
    Param("cell", "sawyer_lift", "cell config"),
    Param("source", "reset", "name of this source"),
    Param("speed", 0.6, "largest joint speed on the way home, rad/s; the safety chain may allow less", bounds=(0.01, 3.0)),
    Param("tolerance", 0.01, "joint error at which the arm counts as home, rad", bounds=(0.0001, 0.5)),
    Param("pace", "lockstep", "pace of the cell", choices=("lockstep", "realtime")),
)


class ResetNode(ApprenticeNode):
    def __init__(self) -> None:
        super().__init__("reset_node", PARAMETERS)
        s = self.settings
        cell = load_cell(s["cell"])
        profile = load_robot(cell.robot)
        kinematics = Kinematics(profile)
        self._shell = SourceShell(
            self, s["source"],
            lambda spec: HomeReset(profile, kinematics, spec.timing.control_period, s["speed"], s["tolerance"], name=s["source"]),
            s["pace"] == "lockstep",
        )
        self.steady_timer(1.0, lambda: self.diagnose("reset", 0, "ready", self._shell.statistics()))

    def close(self) -> None:
        self._shell.close()


def main() -> None:
    run_node(ResetNode)


if __name__ == "__main__":
    main()
