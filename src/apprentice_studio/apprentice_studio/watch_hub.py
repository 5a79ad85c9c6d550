"""Between watch_node and the pages: starts the node's process, keeps what is known, and gives each page its own bounded share.

The node is a child on a socket pair: no port that others on the machine could reach, and the end of either side is seen by the other at
once. It is not a thread of the server, because DDS callbacks would then wait behind whatever request holds the interpreter.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import itertools
import os
import socket
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from apprentice_core.errors import ApprenticeError
from apprentice_studio.mailbox import Mailbox
from apprentice_studio.watch_link import json_frame, pack, read_frame
from apprentice_studio.watch_state import WatchState

BACKOFF = (1.0, 2.0, 5.0, 10.0)
"""s before the node's process is started again after it ended (ours)"""
SETTLED = 30.0
"""s after which a process that ended counts as a first failure again (ours)"""
PATIENCE = 3.0
"""s that the process is given to end (ours)"""
PAGE_DEPTH = 4000
"""items of a series that wait for a page: all of the history and some seconds (ours)"""
NO_ROS = "rclpy is not importable here, so the running cell cannot be seen: start Studio in an environment with ROS 2"


class NoCell(ApprenticeError):
    """The order could not reach the cell, or the cell did not confirm it."""


@dataclass(eq=False)
class Page:
    """One open Watch page: what waits for it, and the event that says so."""

    box: Mailbox
    filled: asyncio.Event


class WatchHub:
    """`start` and `stop` belong to the server's lifespan; all else runs in its event loop. Orders raise NoCell."""

    def __init__(self, namespace: str = "/cell", command: Sequence[str] | None = None, camera_rate: float = 10.0):
        self.namespace = "/" + namespace.strip("/")
        self.state = WatchState()
        self.link: dict[str, Any] = {"t": "link", "state": "starting", "message": "", "namespace": self.namespace}
        self.pages: set[Page] = set()
        self._command = list(command) if command else [
            sys.executable, "-m", "apprentice_studio.watch_node", "--ros-args", "-r", f"__ns:={self.namespace}",
            "-r", f"__node:=watch_{os.getpid()}", "-p", f"camera_rate:={camera_rate}",
        ]
        self._own = command is None
        self._task: asyncio.Task[None] | None = None
        self._writer: asyncio.StreamWriter | None = None
        self._up = asyncio.Event()
        self._ids = itertools.count(1)
        self._answers: dict[int, asyncio.Future[dict[str, Any]]] = {}

    # life

    def start(self) -> None:
        """Without rclpy there is no cell to see; the page then says so and the rest of Studio works."""
        if self._own and importlib.util.find_spec("rclpy") is None:
            self._set_link("no_ros", NO_ROS)
        elif self._task is None:
            self._task = asyncio.create_task(self._keep(), name="watch")

    async def stop(self) -> None:
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

    async def _keep(self) -> None:
        failures = 0
        while True:
            began = time.monotonic()
            ended = await self._run()
            failures = 0 if time.monotonic() - began > SETTLED else failures + 1
            self._set_link("down", ended)
            self.state.lost(ended, time.time())
            await asyncio.sleep(BACKOFF[min(failures, len(BACKOFF) - 1)])

    async def _run(self) -> str:
        """One life of the process; says how it ended."""
        ours, theirs = socket.socketpair()
        try:
            process = await asyncio.create_subprocess_exec(
                *self._command, "-p", f"link:={theirs.fileno()}", stdin=asyncio.subprocess.DEVNULL, pass_fds=(theirs.fileno(),),
            )
        except OSError as error:
            ours.close()
            return f"watch_node could not be started: {error}"
        finally:
            theirs.close()
        reader, self._writer = await asyncio.open_connection(sock=ours)
        try:
            self._order({"order": "watched", "on": bool(self.pages)})
            while (frame := await read_frame(reader)) is not None:
                if not self._up.is_set():
                    self._up.set()
                    self.state.found(time.time())
                    self._set_link("up", "")
                self._take(frame)
            with contextlib.suppress(TimeoutError):  # so that its own exit code is told
                await asyncio.wait_for(process.wait(), PATIENCE)
        except (ValueError, KeyError, TypeError) as error:
            return f"watch_node sent what is not understood: {type(error).__name__}: {error}"
        finally:
            self._up.clear()
            writer, self._writer = self._writer, None
            writer.close()
            for waiting in self._answers.values():
                if not waiting.done():
                    waiting.set_exception(NoCell("the link to the cell ended"))
            await _end(process)
        return f"watch_node ended (exit {process.returncode}); it is started again. Studio's output says why"

    def _set_link(self, state: str, message: str) -> None:
        self.link = {**self.link, "state": state, "message": message}
        self._tell("link", self.link)

    # from the cell to the pages

    def _take(self, frame: tuple[int, bytes]) -> None:
        before = self.state.alarms.revision
        told = self.state.take(frame, time.time())
        if told is None:
            return
        key, item = told
        if isinstance(item, dict) and item["t"] == "answer":
            waiting = self._answers.get(item["id"])
            if waiting is not None and not waiting.done():
                waiting.set_result(item)
            return
        self._tell(key, item)
        if self.state.alarms.revision != before:
            self._tell("alarms", {"t": "alarms", "alarms": self.state.alarms.listing()})

    def _tell(self, key: str | None, item: Any) -> None:
        for page in self.pages:
            if key is None:
                page.box.push(item)
            else:
                page.box.put(key, item)

    def open_page(self) -> Page:
        """A page that has just come: it gets all that is known, and the cell's fast streams are listened to."""
        filled = asyncio.Event()
        page = Page(Mailbox(PAGE_DEPTH, filled.set), filled)
        page.box.put("link", self.link)
        page.box.put("alarms", {"t": "alarms", "alarms": self.state.alarms.listing()})
        for key, item in self.state.newest.items():
            page.box.put(key, item)
        for item in self.state.history():
            page.box.push(item)
        for camera, picture in self.state.pictures.items():
            page.box.put(f"picture {camera}", picture)
        self.pages.add(page)
        if len(self.pages) == 1:
            self._order({"order": "watched", "on": True})
        return page

    def close_page(self, page: Page) -> None:
        self.pages.discard(page)
        if not self.pages:
            self._order({"order": "watched", "on": False})

    # from a page to the cell

    def _order(self, order: dict[str, Any]) -> None:
        if self._writer is not None:
            self._writer.write(pack(json_frame(order)))

    async def order(self, kind: str, timeout: float = 5.0, **fields: Any) -> dict[str, Any]:
        """Sends an order and waits for what came of it; NoCell with the reason when it was not carried out."""
        if self.link["state"] == "no_ros":
            raise NoCell(NO_ROS)
        if self._task is None:
            raise NoCell("Watch is not running")
        number = next(self._ids)
        self._answers[number] = waiting = asyncio.get_running_loop().create_future()
        try:
            async with asyncio.timeout(timeout):
                await self._up.wait()
                self._order({"order": kind, "id": number, **fields})
                answer = await waiting
        except TimeoutError:
            raise NoCell(f"no answer from the cell within {timeout:g} s") from None
        finally:
            self._answers.pop(number, None)
        if answer["error"]:
            raise NoCell(answer["error"])
        return answer


async def _end(process: asyncio.subprocess.Process) -> None:
    """Its link is closed, so it has nothing more to do; SIGTERM spares it the rest of a start."""
    for push in (process.terminate, process.kill):
        if process.returncode is not None:
            return
        with contextlib.suppress(ProcessLookupError):
            push()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(process.wait(), PATIENCE)
