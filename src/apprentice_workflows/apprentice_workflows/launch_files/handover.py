"""The real `launch`, where a distribution brings it: the same files run there unchanged."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path


def real_launch_present() -> bool:
    """Whether `ros2 launch` can read XML here. (A folder named launch/ on the path is no such thing, hence the submodules.)"""
    try:
        found = find_spec("launch_ros.actions") is not None and find_spec("launch_xml.parser") is not None
    except ModuleNotFoundError:
        found = False
    return found and shutil.which("ros2") is not None


def exec_real_launch(path: Path, arguments: Mapping[str, str]) -> None:
    """Becomes `ros2 launch`; does not return."""
    os.execvp("ros2", ["ros2", "launch", str(path), *(f"{k}:={v}" for k, v in arguments.items())])
