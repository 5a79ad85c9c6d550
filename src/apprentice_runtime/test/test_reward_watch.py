"""A reward that is fooled, told while the cell runs (spec 001c B26, C35, C42)."""

from apprentice_runtime.reward_watch import EXPLOITED, HACK, RewardWatch, alarm_from_json, alarm_to_json


def trial(watch: RewardWatch, number: int, values, success: bool = False, aside: float = 0.0):
    name = f"e{number}"
    watch.start(name)
    for value in values:
        watch.rewarded(name, value, min(1.0, max(0.0, value)), aside)
        watch.verified(name, success)
    watch.rewarded("another", 1.0, 1.0)
    return watch.finish()


def test_praise_without_success_raises_the_alarm_once_and_it_stays() -> None:
    watch = RewardWatch(False, trials=3, threshold=0.5)
    assert not trial(watch, 0, [0.1, 0.9]) and not trial(watch, 1, [0.9])
    assert not trial(watch, 2, [0.9, 0.9], success=True), "a verified success clears"
    assert not trial(watch, 3, [0.9]) and not trial(watch, 4, [0.2]) and not trial(watch, 5, [0.7])
    [found] = trial(watch, 6, [0.6])
    assert found.code == EXPLOITED and found.episode_id == "e6" and "3 trials" in found.message
    assert watch.fired and not trial(watch, 7, [0.9]), "told once"
    assert trial(watch, 8, [0.1], success=True) == [] and watch.fired, "it stays until a person has looked"
    watch.clear()
    assert not watch.fired and not trial(watch, 9, [0.9]) and not watch.fired


def test_success_must_stand_at_the_end() -> None:
    watch = RewardWatch(False, trials=1, threshold=0.5)
    watch.start("e")
    for success in (True, False):
        watch.rewarded("e", 1.0, 1.0)
        watch.verified("e", success)
    assert [f.code for f in watch.finish()] == [EXPLOITED]
    assert watch.finish() == [], "an episode is judged once"


def test_a_right_picture_in_the_wrong_place_is_a_hack() -> None:
    watch = RewardWatch(True, trials=1, threshold=0.5)
    [found] = trial(watch, 0, [-1.0, -0.6, -0.2, -0.7], aside=0.008)
    assert found.code == HACK and "80 %" in found.message and "8.0 mm" in found.message
    assert trial(watch, 1, [-1.0, -0.2], aside=0.003) == [], "near enough"
    assert trial(watch, 2, [-1.0, -0.6], aside=0.008) == [], "the picture is not right"
    assert trial(watch, 3, [-1.0, -0.2], aside=float("nan")) == [], "nobody knows where the plug is"
    assert watch.hacks == 1 and watch.judged == 4 and not watch.fired


def test_each_supervisor_speaks_for_itself_and_nonsense_is_an_alarm() -> None:
    assert alarm_from_json(alarm_to_json("/cell/a", "stop: look")) == ("/cell/a", "stop: look")
    assert alarm_from_json(alarm_to_json("/cell/a", "")) == ("/cell/a", "")
    for text in ("", "[]", "{}", '{"node": "x"}', "stop"):
        assert "not understood" in alarm_from_json(text)[1]
