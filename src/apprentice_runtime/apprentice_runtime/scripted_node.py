"""A script that drives: an expert or the random explorer, as an action source of its own name."""

from __future__ import annotations

from apprentice_core.config import load_cell, load_robot, load_task
from apprentice_core.ros_node import ApprenticeNode, Param, run_node
from apprentice_runtime.ros_source import SourceShell
from apprentice_runtime.scripts import SCRIPTS, make_script

PARAMETERS = (
    Param("cell", "sawyer_lift", "cell config"),
    Param("task", "lift", "task config"),
    Param("script", "lift_expert", "which script", choices=SCRIPTS),
    Param("source", "", "name of this source; empty: the script's"),
    Param("noise", 0.0, "sigma of the noise that an expert adds to its action, in [-1, 1] units", bounds=(0.0, 1.0)),
    Param("noise_correlation", 0.0, "of that noise over one step", bounds=(0.0, 0.999)),
    Param("failures", 0.0, "part of the episodes in which an expert misses on purpose", bounds=(0.0, 1.0)),
    Param("seed", 0, "of the script's randomness; the episode's seed is mixed in", bounds=(0, 2**31 - 1)),
    Param("pace", "lockstep", "pace of the cell", choices=("lockstep", "realtime")),
)


class ScriptedNode(ApprenticeNode):
    def __init__(self) -> None:
        super().__init__("scripted_node", PARAMETERS)
        s = self.settings
        cell, task = load_cell(s["cell"]), load_task(s["task"])
        profile, name = load_robot(cell.robot), s["source"] or s["script"]
        self._shell = SourceShell(
            self, name,
            lambda spec: make_script(
                s["script"], spec, profile, cell, task, name, s["noise"], s["noise_correlation"], s["failures"], s["seed"]
            ),
            s["pace"] == "lockstep", pictures=False,
        )
        self.steady_timer(1.0, lambda: self.diagnose("script", 0, name, self._shell.statistics()))

    def close(self) -> None:
        self._shell.close()


def main() -> None:
    run_node(ScriptedNode)


if __name__ == "__main__":
    main()
