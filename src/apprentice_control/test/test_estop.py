import numpy as np
import pytest
from arms import Rig

from apprentice_control.estop import EstopLatch
from apprentice_core.errors import SafetyError


def test_the_latch_survives_a_restart(tmp_path):
    path = tmp_path / "cell" / "estop.json"
    EstopLatch(path).latch("hand in the cell", "studio")
    again = EstopLatch(path)
    assert again.latched and again.reason == "hand in the cell" and again.requested_by == "studio" and again.stamp > 0
    assert [p.name for p in path.parent.iterdir()] == ["estop.json"]


def test_the_first_reason_stands(tmp_path):
    latch = EstopLatch(tmp_path / "e.json")
    latch.latch("first")
    latch.latch("second")
    assert EstopLatch(tmp_path / "e.json").reason == "first"


def test_reset_only_once_the_cause_is_gone(tmp_path):
    latch = EstopLatch(tmp_path / "e.json")
    latch.latch("button pressed")
    with pytest.raises(SafetyError, match="button pressed"):
        latch.reset(lambda: False)
    assert latch.latched and EstopLatch(tmp_path / "e.json").latched
    latch.reset(lambda: True)
    assert not latch.latched and not EstopLatch(tmp_path / "e.json").latched


@pytest.mark.parametrize("damage", ["", "{", '{"reason": 3}', "[1]"])
def test_a_damaged_latch_file_counts_as_latched(tmp_path, damage):
    path = tmp_path / "e.json"
    path.write_text(damage)
    latch = EstopLatch(path)
    assert latch.latched and "cannot be read" in latch.reason


def test_estop_stops_commanding_at_once_and_only_reset_and_engage_go_on(tmp_path):
    rig = Rig(estop=EstopLatch(tmp_path / "e.json"))
    rig.act(np.full(7, 0.5))
    rig.loop.estop.latch("test")
    before = rig.arm.commands
    record = rig.act(np.full(7, 0.5))
    assert rig.arm.commands == before and rig.arm.stops == 1
    assert rig.loop.state == "stopped" and record.outcome == "stop" and (record.executed == 0).all()
    assert rig.codes().count("estop") == 1
    with pytest.raises(SafetyError, match="latched"):
        rig.loop.engage()
    rig.loop.estop.reset(lambda: True)
    rig.run(10)
    assert rig.arm.commands == before, "a reset alone must not move the arm"
    rig.loop.engage()
    assert rig.act(np.zeros(7)).outcome == "applied" and rig.arm.commands > before


def test_a_latch_from_before_keeps_the_loop_from_engaging(tmp_path):
    EstopLatch(tmp_path / "e.json").latch("before the restart")
    with pytest.raises(SafetyError, match="before the restart"):
        Rig(estop=EstopLatch(tmp_path / "e.json"))
