"""Pictures of one moment."""

from apprentice_perception.frame_group import FrameGroup


def test_lockstep_waits_for_equal_stamps() -> None:
    group: FrameGroup[str] = FrameGroup(("a", "b"), 0, 0)
    assert group.add("a", 10, "a0") is None
    assert group.add("a", 20, "a1") is None
    assert group.add("b", 10, "b0") is None, "a's picture of 10 is gone"
    moment = group.add("b", 20, "b1")
    assert moment is not None and moment.stamp == 20 and moment.frames == {"a": "a1", "b": "b1"}
    assert group.add("b", 20, "again") is None and group.add("b", 5, "old") is None


def test_realtime_takes_near_ones_and_goes_on_without_a_camera_that_is_silent() -> None:
    group: FrameGroup[str] = FrameGroup(("a", "b"), 5, 30)
    assert group.add("a", 100, "a0") is None, "nobody knows of b yet"
    moment = group.add("b", 103, "b0")
    assert moment is not None and moment.stamp == 103 and set(moment.frames) == {"a", "b"}
    assert group.add("a", 120, "a1") is None, "b is late, but not silent"
    alone = group.add("a", 140, "a2")
    assert alone is not None and alone.frames == {"a": "a2"}
    both = group.add("b", 141, "b1")
    assert both is not None and both.frames == {"a": "a2", "b": "b1"}
