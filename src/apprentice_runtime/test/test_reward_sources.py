from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from apprentice_core.cell_factory import make_cell_spec
from apprentice_core.config import load_cell, load_robot, load_task
from apprentice_core.errors import ApprenticeError, BundleError
from apprentice_core.rewards import calibrate, capture_goal_image
from apprentice_runtime.reward_sources import inputs_of, make_reward_source

SETTINGS = {"task": "lift", "bundle": "", "goal_image": "", "calibration": "", "beta_sign": 1, "inserted_by": "distance"}
CELL, TASK, SAWYER = load_cell("sawyer_lift"), load_task("lift"), load_robot("sawyer")
SPEC = make_cell_spec(SAWYER, CELL, TASK, ["basket_front_left"])
WIRED = make_cell_spec(SAWYER, CELL.model_copy(update={"connection": True}), TASK, ["basket_front_left"])


def test_each_source_says_what_it_reads(tmp_path: Path) -> None:
    scripted = make_reward_source({**SETTINGS, "source": "scripted"}, "sawyer")
    assert scripted.needs_privileged and not any(n.startswith("camera/") for n in inputs_of(scripted, SPEC))
    dense = make_reward_source({**SETTINGS, "source": "dense"}, "sawyer")
    assert inputs_of(dense, SPEC) == {"tool/pose", "wrist/wrench"} and not dense.needs_privileged
    electrical = make_reward_source({**SETTINGS, "source": "electrical"}, "sawyer")
    assert inputs_of(electrical, WIRED) == {"connection/connected"}
    with pytest.raises(BundleError, match="connection/connected"):
        inputs_of(electrical, SPEC)
    path = tmp_path / "goal.png"
    capture_goal_image(np.zeros((64, 64, 3), np.uint8), "basket_front_left", path)
    picture = make_reward_source({**SETTINGS, "source": "goal_image", "goal_image": str(path)}, "sawyer")
    assert inputs_of(picture, SPEC) == {"camera/basket_front_left"}
    pose = calibrate(np.tile([0.6, 0.0, 0.1, 0, 0, 0, 1], (10, 1)), "usb", "sawyer")
    (tmp_path / "usb.json").write_text(pose.model_dump_json())
    calibrated = make_reward_source({**SETTINGS, "source": "calibrated", "calibration": str(tmp_path / "usb.json")}, "sawyer")
    assert inputs_of(calibrated, SPEC) == {"tool/pose"} and calibrated.model_id.startswith("calibrated/usb@sawyer/")


@pytest.mark.parametrize(("settings", "match"), [
    ({"source": "sketch"}, "bundle"), ({"source": "classifier"}, "bundle"), ({"source": "goal_image"}, "capture_goal_image"),
    ({"source": "goal_image", "goal_image": "nowhere.png"}, "capture"), ({"source": "dense", "beta_sign": 0}, "beta_sign"),
    ({"source": "calibrated"}, "calibration"), ({"source": "calibrated", "calibration": "nowhere.json"}, "apprentice calibrate"),
])
def test_what_is_lacking_is_named(settings: dict, match: str) -> None:
    with pytest.raises(ApprenticeError, match=match):
        make_reward_source({**SETTINGS, **settings}, "sawyer")
