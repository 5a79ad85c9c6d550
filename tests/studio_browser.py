"""What the browser tests of Studio share: a real server in a process of its own, a real Chromium, and a hand that draws."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

CHROMIUM = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
)
SERVE = """
import sys, uvicorn
from pathlib import Path
from apprentice_store.store import Store
from apprentice_studio.app import create_app
uvicorn.run(create_app(Store(Path(sys.argv[1]))), host="127.0.0.1", port=int(sys.argv[2]), log_level="warning")
"""


def chromium() -> str | None:
    """$APPRENTICE_CHROMIUM, or the first Chromium on the PATH."""
    named = os.environ.get("APPRENTICE_CHROMIUM", "")
    return named or next((found for name in CHROMIUM if (found := shutil.which(name))), None)


class StudioServer:
    """Studio over `folder` on a free port, which it keeps when it is started again."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.process: subprocess.Popen[bytes] | None = None
        with socket.socket() as s:
            s.bind(("127.0.0.1", 0))
            self.port = s.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        log = (self.folder.parent / "studio.log").open("ab")
        self.process = subprocess.Popen([sys.executable, "-c", SERVE, str(self.folder), str(self.port)], stdout=log, stderr=log)
        log.close()
        end = time.monotonic() + 60
        while time.monotonic() < end and self.process.poll() is None:
            try:
                self.get("/api/session")
                return
            except urllib.error.URLError:
                time.sleep(0.1)
        raise AssertionError((self.folder.parent / "studio.log").read_text()[-2000:])

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()

    @contextmanager
    def away(self) -> Iterator[None]:
        """Killed meanwhile, and started again."""
        self.kill()
        yield
        self.start()

    def get(self, path: str) -> Any:
        with urllib.request.urlopen(self.url + path, timeout=10) as answer:
            return json.load(answer)

    def send(self, method: str, path: str, body: Any) -> Any:
        request = urllib.request.Request(self.url + path, json.dumps(body).encode(), {"Content-Type": "application/json"}, method=method)
        with urllib.request.urlopen(request, timeout=10) as answer:
            return json.load(answer)

    def sketch(self, episode_id: str, task: str, user: str) -> list[float] | None:
        """The newest saved sketch of a user."""
        curves = self.get(f"/api/episodes/{episode_id}/curves?task={task}&user={user}")["curves"]
        return next((c["values"] for c in reversed(curves) if c["kind"] == "sketch" and c["user"] == user), None)


@contextmanager
def open_browser() -> Iterator[Browser]:
    with sync_playwright() as p:
        browser = p.chromium.launch(executable_path=chromium(), args=list(FLAGS))
        yield browser
        browser.close()


def person(browser: Browser, user: str, size: tuple[int, int] = (1280, 800), **choices: str) -> BrowserContext:
    """A browser of somebody who has said who they are; pages that fail loudly."""
    context = browser.new_context(viewport={"width": size[0], "height": size[1]})
    chosen = json.dumps({"user": user, "task": "lift", **choices})
    context.add_init_script(f"localStorage.getItem('apprentice-studio') || localStorage.setItem('apprentice-studio', {json.dumps(chosen)})")
    context.set_default_timeout(10_000)
    return context


class Hand:
    """Somebody at the sketch page."""

    def __init__(self, page: Page, url: str, episode_id: str, task: str = "lift"):
        self.page, self.task = page, task
        self.errors: list[str] = []
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.goto(f"{url}/#/sketch/{episode_id}?task={task}")
        self.ready()

    def ready(self) -> None:
        self.page.wait_for_selector("canvas.plot")
        self.page.wait_for_selector(".camera canvas[data-step]")
        self.margin = self.page.evaluate("import('/js/plot.js').then((m) => m.MARGIN)")
        self.last = int(self.page.get_attribute("canvas.plot", "aria-valuemax") or 0)

    def at(self, frame: float, value: float) -> tuple[float, float]:
        """Page coordinates of a frame and a value."""
        box, m = self.page.locator("canvas.plot").bounding_box(), self.margin
        assert box is not None
        width, height = box["width"] - m["left"] - m["right"], box["height"] - m["top"] - m["bottom"]
        return box["x"] + m["left"] + frame / self.last * width, box["y"] + m["top"] + (1 - value) * height

    def draw(self, points: Sequence[tuple[float, float]], pause: float = 0.0, button: str = "left", release: bool = True) -> None:
        self.page.mouse.move(*self.at(*points[0]))
        self.page.mouse.down(button=button)  # type: ignore[arg-type]
        for point in points[1:]:
            self.page.mouse.move(*self.at(*point))
            if pause:
                time.sleep(pause)
        if release:
            self.page.mouse.up(button=button)  # type: ignore[arg-type]

    def press(self, *keys: str) -> None:
        for key in keys:
            self.page.keyboard.press(key)

    def save(self) -> None:
        with self.page.expect_response("**/sketch") as answered:
            self.press("Enter")
        assert answered.value.ok, answered.value.text()
        self.draft_is("empty")

    def draft_is(self, state: str) -> None:
        self.page.wait_for_selector(f".draft[data-state={state}]")

    def readout(self) -> str:
        return self.page.inner_text(".readout >> nth=0")
