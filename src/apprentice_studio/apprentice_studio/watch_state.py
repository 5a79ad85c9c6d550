"""What Studio knows of the running cell: the newest of everything, short traces, and the alarms that follow. Pure: times are given."""

from __future__ import annotations

import json
from collections import deque
from typing import Any

from apprentice_core.errors import ConfigError
from apprentice_studio.alarms import AlarmBoard
from apprentice_studio.arm_model import arm_model
from apprentice_studio.watch_link import JSON, Frame, picture_header

HISTORY = {"wrench": 1500, "reward": 600, "step": 600}
"""points of a trace that a page gets when it opens (ours)"""
GRACE = {"realtime": 1.0, "lockstep": 5.0}
"""a stream may be silent for so long, s; in lockstep the world stands still while a source thinks, for 2 s at most before a hold (ours)"""
ARM_GRACE = 2.0
"""safety/status comes 10 times a second in either pace, s (ours)"""
EPISODE_GRACE = 6.0
"""an episode without a step for so long does not keep streams from being idle, s (ours)"""


class WatchState:
    """Fed with the link's frames by `take`; a page that opens gets `newest`, `pictures` and `history`."""

    def __init__(self) -> None:
        self.alarms = AlarmBoard()
        self.newest: dict[str, dict[str, Any]] = {}
        """JSON items that replace each other, by kind and name"""
        self.pictures: dict[str, bytes] = {}
        """newest picture of each camera"""
        self.traces: dict[str, deque[dict[str, Any]]] = {name: deque(maxlen=size) for name, size in HISTORY.items()}
        self.model: dict[str, Any] | None = None
        """the arm as `arm_model` gives it"""
        self.model_error = ""
        self._frames: dict[str, dict[str, Any]] = {}
        self._episode: dict[str, Any] = {}
        self._stepped = 0.0

    def take(self, frame: Frame, now: float) -> tuple[str | None, Any] | None:
        """(key, what a page is told): the key that it replaces, or None for one of a series. None where nothing is told.

        `now`: s since the epoch. A picture is told as its bytes. ValueError on a frame that is none of ours.
        """
        kind, body = frame
        if kind != JSON:
            camera = str(picture_header(body)["camera"])
            self.pictures[camera] = body
            return f"picture {camera}", body
        item = json.loads(body)
        handler = getattr(self, f"_take_{item['t']}", None)
        if handler is not None:
            item = handler(item, now)
            if item is None:
                return None
        if item["t"] in self.traces:
            self.traces[item["t"]].append(item)
            return None, item
        if item["t"] == "event":
            return None, item
        key = f"{item['t']} {item.get('name', '')}".strip()
        self.newest[key] = item
        return key, item

    def history(self) -> list[dict[str, Any]]:
        """The traces, for a page that has just opened; it gets `newest` and `pictures` too."""
        return [i for trace in self.traces.values() for i in trace]

    def lost(self, message: str, now: float) -> None:
        """The link to the cell has ended: nothing that was live is any more."""
        self.alarms.raise_("link", "error", "watch", message, now)
        self.alarms.forget_nodes(now)
        for name in ("ages", "safety", "tf"):
            self.newest.pop(name, None)
        self.pictures.clear()

    def found(self, now: float) -> None:
        self.alarms.clear("link", now)

    @property
    def running(self) -> str:
        """Id of the episode that is going on; ''."""
        return str(self._episode.get("episode", "")) if self._episode.get("event") != "end" else ""

    # what is understood here, and not only passed on

    def _take_urdf(self, item: dict[str, Any], now: float) -> dict[str, Any]:
        try:
            self.model, self.model_error = arm_model(item["text"]), ""
        except ConfigError as error:
            self.model, self.model_error = None, str(error)
            self.alarms.raise_("urdf", "warning", "robot_description", str(error), now)
        else:
            self.alarms.clear("urdf", now)
        # The page fetches the model itself: it is large and changes once in a cell's life.
        return {"t": "urdf", "robot": self.model["name"] if self.model else "", "error": self.model_error, "at": now}

    def _take_frames(self, item: dict[str, Any], now: float) -> dict[str, Any]:
        self._frames |= {f["child"]: f for f in item["frames"]}
        return {"t": "frames", "frames": list(self._frames.values())}

    def _take_event(self, item: dict[str, Any], now: float) -> dict[str, Any]:
        self.alarms.event(item, now)
        return item

    def _take_diagnostic(self, item: dict[str, Any], now: float) -> dict[str, Any]:
        self.alarms.diagnostic(item["name"], item["level"], item["message"], now)
        return item

    def _take_estop(self, item: dict[str, Any], now: float) -> dict[str, Any]:
        by = f" by {item['by']}" if item["by"] else ""
        self.alarms.condition(item["latched"], "estop", "error", "estop", f"emergency stop{by}: {item['reason'] or 'no reason given'}", now)
        return item

    def _take_safety(self, item: dict[str, Any], now: float) -> dict[str, Any]:
        bad = item["state"] == "retreat" or (item["state"] == "stopped" and not item["estop"])
        self.alarms.condition(bad, "safety", "error", "safety", f"{item['state']}: {item['reason']}", now)
        return item

    def _take_policy(self, item: dict[str, Any], now: float) -> dict[str, Any]:
        # A policy node that waits for its first bundle is no alarm; one that refused a bundle is.
        refused = not item["ready"] and bool(item["bundle"])
        self.alarms.condition(refused, "policy", "warning", "policy", item["message"] or "not ready", now)
        return item

    def _take_episode(self, item: dict[str, Any], now: float) -> dict[str, Any]:
        if item["event"] != "segment":
            self._episode, self._stepped = item, now
        return item

    def _take_step(self, item: dict[str, Any], now: float) -> dict[str, Any]:
        self._stepped = now
        if item["episode"] != self._episode.get("episode"):
            # Studio came while it was running: the start was before its time.
            self._episode = {"t": "episode", "event": "start", "episode": item["episode"]}
        return item

    def _take_ages(self, item: dict[str, Any], now: float) -> dict[str, Any]:
        ages: dict[str, float] = item["ages"]
        silent_arm = "safety/status" not in item["unheard"] and ages["safety/status"] > ARM_GRACE
        self.alarms.condition(silent_arm, "arm", "error", "arm_node", "says nothing: nobody watches over the arm", now)
        moving = item["pace"] == "realtime" or (self.running != "" and now - self._stepped < EPISODE_GRACE)
        grace = GRACE.get(item["pace"], GRACE["lockstep"])
        limits = {n: max(grace, age) for n, age in self.newest.get("spec", {}).get("streams", {}).items() if n in ages}
        stale = [n for n, limit in limits.items() if moving and ages[n] > limit]
        self.alarms.streams(stale, self.newest.get("spec", {}).get("streams", {}), now)
        self.alarms.silent_nodes(now)
        return {**item, "moving": moving, "stale": stale, "episode": self.running, "limits": limits}
