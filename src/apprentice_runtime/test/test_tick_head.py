from __future__ import annotations

import numpy as np
import pytest
from rclpy.serialization import serialize_message

from apprentice_core.assembler import Part
from apprentice_core.cdr import tick_head
from apprentice_core.episode import Segment
from apprentice_runtime.ros_convert import tick_from_msg, tick_to_msg
from apprentice_runtime.tick import TickPlan


@pytest.mark.parametrize("sources", [(), ("policy",), ("base controller", "residual")])
@pytest.mark.parametrize("episode_id", ["", "e", "01JEPISODE0000000000000000"])
def test_the_head_of_a_tick_is_what_its_message_says(sources, episode_id):
    for missing in ((), (True,), (False, True, False)):
        parts = tuple(Part(f"s{i}", f"topic/{i}", 10 + i) for i in range(len(missing)))
        plan = TickPlan(
            1_700_000_000_123_456_789, 5, episode_id, 2**63 + 11, 7, bool(missing), sources, ("scripted",),
            Segment(goal={"position": np.ones(3, np.float32)}), parts, missing, {"s0": b"\x00\x01abc"} if missing else {},
        )
        raw = serialize_message(tick_to_msg(plan))
        head = tick_head(raw)
        assert (head.stamp, head.episode_id, head.step_id, head.step, head.final, head.sources) == (
            plan.stamp, episode_id, plan.step_id, 7, plan.final, sources
        )
        back = tick_from_msg(tick_to_msg(plan))
        assert back.carried == plan.carried and back.parts == parts and back.missing == missing
        for cut in range(len(raw[:40])):
            with pytest.raises(ValueError, match=r"ends early|little-endian"):
                tick_head(raw[:cut])
