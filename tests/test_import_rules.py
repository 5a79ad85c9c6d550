"""rclpy and message packages are imported only in files named *_node.py or ros_*.py; import-linter holds the rest of the rules."""

import ast
from pathlib import Path

import pytest

SRC = Path(__file__).resolve().parents[1] / "src"
FILES = sorted(p for p in SRC.glob("*/apprentice_*/**/*.py") if not p.name.endswith("_node.py") and not p.name.startswith("ros_"))


def imported(path: Path) -> set[str]:
    nodes = list(ast.walk(ast.parse(path.read_text(encoding="utf-8"))))
    plain = {alias.name for n in nodes if isinstance(n, ast.Import) for alias in n.names}
    return {name.split(".")[0] for name in plain | {n.module for n in nodes if isinstance(n, ast.ImportFrom) and n.module and n.level == 0}}


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(SRC)))
def test_ros_stays_in_nodes(path: Path) -> None:
    assert not {n for n in imported(path) if n.startswith(("rclpy", "rosidl_", "ros2")) or n.endswith(("_msgs", "_interfaces"))}


def test_the_rule_looks_at_files() -> None:
    assert len(FILES) > 30
