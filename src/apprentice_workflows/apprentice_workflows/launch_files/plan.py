"""What a launch file amounts to once its arguments are known: processes with names, parameters, remappings and environment."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path

from apprentice_core.errors import ApprenticeError

ParameterValue = bool | int | float | str | list[bool] | list[int] | list[float] | list[str]


class LaunchError(ApprenticeError):
    """A launch file is wrong: the text names the file and the line."""

    def __init__(self, file: Path, line: int, message: str):
        self.file, self.line = file, line
        super().__init__(f"{file}:{line}: {message}")


@dataclass(frozen=True)
class Argument:
    """A declared `<arg>`; `default` is None where the caller must give it."""

    name: str
    default: str | None
    description: str
    choices: tuple[str, ...] = ()


@dataclass(frozen=True)
class NodePlan:
    """One node process."""

    package: str
    executable: str
    name: str = ""
    namespace: str = ""
    parameters: tuple[tuple[str, ParameterValue], ...] = ()
    parameter_files: tuple[str, ...] = ()
    remappings: tuple[tuple[str, str], ...] = ()
    environment: tuple[tuple[str, str], ...] = ()
    arguments: tuple[str, ...] = ()
    ros_arguments: tuple[str, ...] = ()
    respawn: bool = False
    respawn_delay: float = 0.0
    where: str = ""

    @property
    def label(self) -> str:
        """What its output is prefixed with."""
        return self.name or self.executable

    def command_arguments(self) -> list[str]:
        """Everything after the executable, in the order of the real launch: own arguments, then --ros-args."""
        out = [*self.arguments, "--ros-args", *self.ros_arguments]
        if self.name:
            out += ["-r", f"__node:={self.name}"]
        if self.namespace:
            out += ["-r", f"__ns:={self.namespace}"]
        for path in self.parameter_files:
            out += ["--params-file", path]
        for name, value in self.parameters:
            out += ["-p", f"{name}:={format_value(value)}"]
        for source, target in self.remappings:
            out += ["-r", f"{source}:={target}"]
        return out


@dataclass
class LaunchPlan:
    """Arguments that the file declares, in order, and the nodes to start, in order."""

    file: Path
    arguments: list[Argument] = field(default_factory=list)
    nodes: list[NodePlan] = field(default_factory=list)


def format_value(value: ParameterValue) -> str:
    """A parameter's value as YAML that rcl reads back with the same type: strings are always quoted, floats keep a point."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float):
        if math.isnan(value):
            return ".nan"
        if math.isinf(value):
            return ".inf" if value > 0 else "-.inf"
        text = repr(value)
        return text if any(c in text for c in ".en") else f"{text}.0"
    if isinstance(value, list):
        return "[" + ", ".join(format_value(v) for v in value) + "]"
    return "'" + value.replace("'", "''") + "'"
