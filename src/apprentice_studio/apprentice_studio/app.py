"""The web application: small routers over one store, behind the checks of security.py."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from fastapi import APIRouter, FastAPI
from fastapi.responses import PlainTextResponse
from fastapi.staticfiles import StaticFiles

from apprentice_store.store import Store
from apprentice_studio import problems
from apprentice_studio.context import Overlay, Studio
from apprentice_studio.routes import curves, episodes, evaluations, frames, judging, queue, session, statistics, thumbnails
from apprentice_studio.security import Access, Guard

STATIC = Path(__file__).resolve().parent / "static"
ROUTERS = (session.router, episodes.router, frames.router, thumbnails.router, curves.router, queue.router, judging.router,
           evaluations.router, statistics.router)


def create_app(
    store: Store, access: Access | None = None, extra_routers: Sequence[APIRouter] = (), overlay: Overlay | None = None,
    static: Path | None = None,
) -> FastAPI:
    """Studio over `store` (spec 000 sections 2.5, 2.6, 2.13). The caller closes the store.

    `access`: who may ask (this machine alone by default). `extra_routers`: further parts, as the watch view is; they find the store as
    `request.app.state.studio`. `overlay`: see context.py. `static`: the front end's folder.
    """
    access = access or Access()
    app = FastAPI(title="Apprentice Studio", docs_url=None, redoc_url=None, openapi_url="/api/openapi.json")
    app.state.studio = Studio(store, overlay, token_needed=bool(access.token))
    app.add_middleware(Guard, access=access)
    problems.install(app)
    for router in (*ROUTERS, *extra_routers):
        app.include_router(router)
    folder = static or STATIC
    if (folder / "index.html").is_file():
        app.mount("/", StaticFiles(directory=folder, html=True), name="static")
    else:
        app.get("/", include_in_schema=False)(lambda: PlainTextResponse("The front end is not built: run ./apprentice setup.\n"))
    return app
