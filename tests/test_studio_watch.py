"""Watch on a running cell: what a page gets, who is slow delays nobody, the emergency stop, and what is seen when something dies."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

pytest.importorskip("fastapi")
pytest.importorskip("playwright")

import rclpy
from playwright.sync_api import expect
from std_srvs.srv import Trigger
from studio_browser import StudioServer, chromium, open_browser, person
from websockets.sync.client import ClientConnection, connect

from apprentice_core.config import load_cell, load_robot, urdf_path
from apprentice_core.images import decode_png
from apprentice_core.rotations import matrix_to_quaternion
from apprentice_core.urdf import UrdfTree

EPISODES = """
import time, rclpy
from apprentice_core.cell import EpisodeRequest, ResetRequest
from apprentice_core.errors import ApprenticeError
from apprentice_runtime.ros_cell import RosCell
rclpy.init()
with RosCell("/cell", timeout=60.0) as cell:
    while True:
        try:
            episode = EpisodeRequest("lift_demo", "lift_expert", ResetRequest("scene", seed=0), steps=100, record=False)
            print(cell.run(episode).reason, flush=True)
        except ApprenticeError as error:
            print("failed:", error, flush=True)
            time.sleep(0.5)
"""
FORWARD = """async (frames) => {
    const { forward } = await import("/js/arm_view.js");
    return Object.fromEntries(forward(await (await fetch("/api/watch/urdf")).json(), new Map(frames.map((f) => [f.child, f]))));
}"""
CAMERAS = ("basket_front_left", "wrist_left")


@pytest.fixture(scope="module")
def cell(module_processes: Any) -> Iterator[Any]:
    """A cell that runs one episode after the other; `cell.log` says how each ended."""
    module_processes.start_cell(CAMERAS, recorder_node=None)
    module_processes.log = module_processes.folder / "episodes.log"
    with module_processes.log.open("wb") as log:
        driver = subprocess.Popen([sys.executable, "-c", EPISODES], stdout=log, stderr=log, env=module_processes.environment)
    yield module_processes
    driver.terminate()
    driver.wait(10)


@pytest.fixture(scope="module")
def studio(cell: Any) -> Iterator[StudioServer]:
    cell.data.mkdir(exist_ok=True)
    server = StudioServer(cell.data, ("--runs", str(cell.folder / "runs")), cell.environment)
    server.start()
    yield server
    server.process.terminate()
    server.process.wait(15)


class Page:
    """What a Watch page holds."""

    def __init__(self, socket: ClientConnection):
        self.socket = socket
        self.newest: dict[str, Any] = {}
        self.pictures: dict[str, bytes] = {}
        self.counts: dict[str, int] = {}

    def turn(self) -> None:
        told = json.loads(self.socket.recv(timeout=10))
        for item in told["items"]:
            key = f"{item['t']} {item.get('name', '')}".strip()
            self.newest[key] = item
            self.counts[key] = self.counts.get(key, 0) + 1
        for _ in range(told["pictures"]):
            body = self.socket.recv(timeout=10)
            assert isinstance(body, bytes)
            size = int.from_bytes(body[:2], "big")
            self.pictures[json.loads(body[2 : 2 + size])["camera"]] = body[2 + size :]
        self.socket.send(json.dumps({"ack": told["turn"]}))

    def until(self, condition: Callable[[], Any], what: str, timeout: float = 60.0) -> None:
        end = time.monotonic() + timeout
        while not condition():
            assert time.monotonic() < end, f"{what}: not within {timeout:g} s; {self.newest.keys()}, {self.pictures.keys()}"
            self.turn()

    def safety(self) -> str:
        return str(self.newest.get("safety", {}).get("state", ""))


def watch(studio: StudioServer) -> Any:
    return connect(f"ws://127.0.0.1:{studio.port}/api/watch", max_size=None)


def reset_estop(domain: int) -> None:
    """What a person does at the robot."""
    context = rclpy.Context()
    rclpy.init(context=context, domain_id=domain)
    node = rclpy.create_node("test_reset", namespace="/cell", context=context)
    executor = rclpy.executors.SingleThreadedExecutor(context=context)
    executor.add_node(node)
    client = node.create_client(Trigger, "reset_estop")
    assert client.wait_for_service(20.0)
    end = time.monotonic() + 20.0
    while True:
        future = client.call_async(Trigger.Request())
        executor.spin_until_future_complete(future, 20.0)
        if future.result().success:
            break
        # arm_node takes the cause as gone some time after the last request.
        assert "still there" in future.result().message and time.monotonic() < end, future.result().message
    executor.shutdown()
    node.destroy_node()
    rclpy.shutdown(context=context)


def test_a_page_sees_the_cell_and_one_that_reads_nothing_holds_nobody_up(cell, studio):
    robot, config = load_robot("sawyer"), load_cell("sawyer_lift")
    with watch(studio) as sleeping, watch(studio) as socket:
        page = Page(socket)
        wanted = {
            "spec", "safety", "estop", "control", "tf", "wrench wrist/wrench", "reward", "step", "urdf", "frames",
        }
        page.until(lambda: wanted <= page.newest.keys() and set(CAMERAS) <= page.pictures.keys(), "everything of the cell")
        for camera in CAMERAS:
            picture = decode_png(np.frombuffer(page.pictures[camera], np.uint8))
            assert picture.shape == (*config.cameras[camera].record, 3) and picture.std() > 5
        joints = {j.child: j for j in UrdfTree(urdf_path(robot)).joints if j.name in robot.arm_joints}
        moved = {f["child"]: f for f in page.newest["tf"]["frames"]}
        assert joints.keys() <= moved.keys() and all(joints[link].parent == moved[link]["parent"] for link in joints)
        assert page.newest["step"]["actor"] == "lift_expert" and page.newest["control"]["person"] == ""
        assert set(page.newest["reward"]["values"]) == {"sparse", "shaped"}
        # The pace is known once safety/status was heard, which comes on its own time.
        page.until(lambda: page.newest.get("ages", {}).get("moving") and page.newest["ages"]["pace"], "a running episode and its pace")
        assert page.newest["ages"]["pace"] == "lockstep" and page.newest["ages"]["episode"] and not page.newest["estop"]["latched"]
        assert studio.get("/api/watch/urdf")["name"] == "sawyer"
        # `sleeping` has read nothing so far; this page goes on.
        before = page.counts["tf"]
        page.until(lambda: page.counts["tf"] > before + 20, "more frames")
        assert sleeping.recv(timeout=1)


def test_a_stop_from_a_page_latches_the_arm(cell, studio):
    with watch(studio) as socket:
        page = Page(socket)
        page.until(lambda: page.newest.get("ages", {}).get("moving") and page.safety() == "running", "a running episode")
        assert studio.send("POST", "/api/watch/estop", {"user": "u1", "reason": "smoke"}) == {"ok": True, "latched": True}
        page.until(lambda: page.safety() == "stopped" and page.newest["estop"]["latched"], "the stop")
        assert (page.newest["estop"]["reason"], page.newest["estop"]["by"]) == ("smoke", "u1")
        cell.wait_until(lambda: "estop" in cell.log.read_text(), what="the episode's end")
        assert studio.get("/api/watch/alarms")["alarms"][0]["message"] == "emergency stop by u1: smoke"
        reset_estop(cell.domain)
        page.until(lambda: not page.newest["estop"]["latched"] and page.safety() == "running", "episodes after the reset")


@pytest.mark.skipif(chromium() is None, reason="no Chromium: install one (apt-get install chromium), or name one in $APPRENTICE_CHROMIUM")
def test_the_page_shows_it_stops_it_and_says_what_is_gone(cell, studio):
    run = cell.folder / "runs" / "bc"
    run.mkdir(parents=True)
    (run / "metrics.jsonl").write_text("".join(json.dumps({"step": i, "train/loss": 1 / i}) + "\n" for i in range(1, 50)))
    colours = "c => new Set(new Uint32Array(c.getContext('2d').getImageData(0, 0, c.width, c.height).data.buffer)).size"
    with open_browser() as browser:
        context = person(browser, "u1", (1440, 900))
        context.set_default_timeout(30_000)
        page = context.new_page()
        errors: list[str] = []
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.goto(f"{studio.url}/#/watch")
        page.wait_for_selector(".watch[data-live=good]")
        for camera in CAMERAS:
            picture = page.locator(f"[data-camera={camera}] canvas")
            expect(picture).to_have_attribute("data-shown", re.compile(r"[3-9]|\d\d+"))
            assert picture.evaluate(colours) > 8
        expect(page.locator("[data-fact='In control']")).to_have_text("lift_expert")
        page.wait_for_selector("tr[data-stream=tf][data-state=live]")
        assert page.locator("canvas.arm").evaluate(colours) > 30, "the arm is not drawn"
        for plot in ("Force over time", "Reward over time", "Training curves"):
            assert page.get_by_label(plot).evaluate(colours) > 3, plot

        robot = load_robot("sawyer")
        home = dict(zip(robot.arm_joints, robot.home, strict=True))
        tree, frames = UrdfTree(urdf_path(robot)), []
        for joint in tree.joints:
            rotation, position = joint.transform(home.get(joint.name, 0.0))
            pose = {"position": position.tolist(), "quaternion": matrix_to_quaternion(rotation).tolist()}
            frames += [] if joint.kind == "fixed" else [{"parent": joint.parent, "child": joint.child, **pose}]
        links = page.evaluate(FORWARD, frames)
        for link, (rotation, position) in tree.below(robot.base_frame, home).items():
            drawn = np.reshape(links[link], (4, 4))
            np.testing.assert_allclose(drawn[:3], np.column_stack([rotation, position]), atol=1e-6, err_msg=link)

        page.get_by_role("button", name="Emergency stop").click()
        expect(page.get_by_role("alert").filter(has_text="Emergency stop by u1: button in Studio")).to_be_visible(timeout=20_000)
        expect(page.locator("[data-fact='Safety']")).to_have_text("emergency stop")
        expect(page.locator(".alarm.active").first).to_contain_text("emergency stop by u1")
        cell.stop("arm_node")
        expect(page.locator(".watch-bar")).to_contain_text("arm_node is silent", timeout=20_000)
        studio.kill()
        expect(page.locator(".watch[data-live=bad] .watch-bar")).to_contain_text("Studio does not answer")
        assert not errors
        context.close()
