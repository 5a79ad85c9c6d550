"""The Watch part of Studio's HTTP interface: the live cell as a websocket, its model, training curves, alarms, and what stops the arm."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, FastAPI, Query, WebSocket, WebSocketDisconnect
from fastapi.responses import JSONResponse
from pydantic import StringConstraints

from apprentice_studio.fields import Body, User
from apprentice_studio.problems import NotFound, problem
from apprentice_studio.runs import RunReader
from apprentice_studio.watch_hub import NoCell, Page, WatchHub

TURN = 0.04
"""s between two sendings to a page at least (ours)"""
WINDOW = 2
"""sendings that a page may not have acknowledged yet: what a slow network holds is never older (ours)"""
MAX_PAGES = 32
"""open Watch pages (ours)"""
REFUSED, BUSY = 1008, 1013
Reason = Annotated[str, StringConstraints(max_length=300, strip_whitespace=True)]


class StopBody(Body):
    """POST /api/watch/estop"""

    reason: Reason = ""
    user: User


class ControlBody(Body):
    """POST /api/watch/control: `engage` takes the controls, so that the arm obeys a person's device or holds; else hands back."""

    engage: bool
    user: User


class EndBody(Body):
    """POST /api/watch/end_episode: ends the running episode, judged or not."""

    reason: Reason = "operator"
    success: bool | None = None
    user: User


def watch_routers(
    namespace: str = "/cell", runs: Path = Path("runs"), camera_rate: float = 10.0, hub: WatchHub | None = None
) -> list[APIRouter]:
    """What `create_app(..., extra_routers=...)` takes. The cell is looked for in `namespace` on this process's ROS domain.

    `runs`: folder whose run folders give the training curves. `camera_rate`: pictures of each camera that a page gets, Hz.
    """
    hub, reader = hub or WatchHub(namespace, camera_rate=camera_rate), RunReader(runs)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        hub.start()
        try:
            yield
        finally:
            await hub.stop()

    router = APIRouter(prefix="/api/watch", lifespan=lifespan)
    _looking(router, hub, reader)
    _acting(router, hub)
    return [router]


def _looking(router: APIRouter, hub: WatchHub, reader: RunReader) -> None:
    @router.websocket("")
    async def live(socket: WebSocket) -> None:
        await socket.accept()
        if len(hub.pages) >= MAX_PAGES:
            await socket.close(BUSY, f"{MAX_PAGES} pages watch already")
            return
        page = hub.open_page()
        credit = asyncio.BoundedSemaphore(WINDOW)
        sending = asyncio.create_task(_send(socket, page, credit))
        try:
            await _acknowledged(socket, credit)
        finally:
            hub.close_page(page)
            sending.cancel()
            await asyncio.gather(sending, return_exceptions=True)

    @router.get("/urdf")
    def urdf() -> dict[str, Any]:
        """The arm as `arm_model` gives it; 404 while no robot_description was heard."""
        if hub.state.model is None:
            raise NotFound(hub.state.model_error or f"no robot_description was heard in {hub.namespace}")
        return hub.state.model

    @router.get("/alarms")
    def alarms() -> dict[str, Any]:
        return {"link": hub.link, "alarms": hub.state.alarms.listing()}

    @router.get("/runs")
    def runs() -> dict[str, Any]:
        return {"folder": reader.folder.name, "runs": reader.listing()}

    @router.get("/runs/curves")
    def curves(name: Annotated[str, Query(max_length=1000)]) -> dict[str, Any]:
        try:
            return reader.curves(name)
        except KeyError:
            raise NotFound(f"no run named {name!r}") from None


def _acting(router: APIRouter, hub: WatchHub) -> None:
    async def carried_out(kind: str, **fields: Any) -> JSONResponse:
        try:
            answer = await hub.order(kind, **fields)
        except NoCell as error:
            return problem(503, error)
        return JSONResponse({"ok": True, **{k: v for k, v in answer.items() if k not in ("t", "id", "error")}})

    @router.post("/estop")
    async def estop(body: StopBody) -> JSONResponse:
        """Answers when arm_node has latched it; 503 where it has not. Nothing here resets it: that is done at the robot."""
        return await carried_out("estop", reason=body.reason or "from Studio", user=body.user)

    @router.post("/control")
    async def control(body: ControlBody) -> JSONResponse:
        return await carried_out("control", engage=body.engage)

    @router.post("/end_episode")
    async def end_episode(body: EndBody) -> JSONResponse:
        success = -1 if body.success is None else int(body.success)
        return await carried_out("end_episode", reason=body.reason or "operator", success=success)


async def _send(socket: WebSocket, page: Page, credit: asyncio.BoundedSemaphore) -> None:
    """The page's own loop: what waits for it, at its own speed. What came meanwhile has replaced what it would have missed anyway."""
    turn = 0
    while True:
        await credit.acquire()
        await page.filled.wait()
        page.filled.clear()
        items = page.box.take()
        pictures = [i for i in items if isinstance(i, bytes)]
        rest = [i for i in items if not isinstance(i, bytes)]
        turn += 1
        told = {"turn": turn, "pictures": len(pictures), "missed": page.box.dropped, "items": rest}
        try:
            await socket.send_text(json.dumps(told, separators=(",", ":"), allow_nan=False))
            for picture in pictures:
                await socket.send_bytes(picture)
        except (WebSocketDisconnect, RuntimeError):
            return  # it has gone; the receiving side ends the page
        await asyncio.sleep(TURN)


async def _acknowledged(socket: WebSocket, credit: asyncio.BoundedSemaphore) -> None:
    """A page says {"ack": turn} when it has shown one; all else is refused. Returns when it has gone."""
    try:
        while True:
            said = json.loads(await socket.receive_text())
            if not isinstance(said, dict) or not isinstance(said.get("ack"), int):
                raise ValueError("not an acknowledgement")
            credit.release()
    except (ValueError, KeyError, RecursionError):
        await socket.close(REFUSED, "only acknowledgements are understood")
    except WebSocketDisconnect:
        return
