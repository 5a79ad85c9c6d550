"""`apprentice studio`."""

from __future__ import annotations

from typing import Annotated

import typer

from apprentice_workflows.cli.store import Data, open_store

PORT = 8090


def studio(
    data: Data = None,
    host: Annotated[str, typer.Option("--host", help="Address to bind. Any but this machine's own needs the printed token.")] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", "-p", min=0, max=65535, help="0: any that is free.")] = PORT,
    name: Annotated[list[str] | None, typer.Option("--name", help="A further host name of this machine (may be repeated).")] = None,
    cell: Annotated[str, typer.Option("--cell", help="Cell config that shows where evaluation objects belong.")] = "sawyer_lift",
    open_browser: Annotated[bool, typer.Option("--open", help="Open the page in a browser.")] = False,
) -> None:
    """Browse, sketch, judge and watch in a browser, until Ctrl-C.

    Examples:

      apprentice studio -d bags/demo/episodes --open

      apprentice studio --host 0.0.0.0 --name robot-pc.local
    """
    from apprentice_studio.app import create_app
    from apprentice_studio.security import Access, is_local, new_token
    from apprentice_studio.server import address, bound, serve
    from apprentice_workflows.overlays import Overlays

    # The port first: of a server that cannot start, nothing else should.
    with bound(host, port) as socket, open_store(data) as store:
        access = Access(host, "" if is_local(host) else new_token(), frozenset(name or ()))
        url = address(socket, access)
        app = create_app(store, access, overlay=Overlays(store.folder / "cache" / "overlays", cell))
        typer.echo(f"Studio of {store.folder}: {url}")
        if open_browser:
            import webbrowser

            webbrowser.open(url)
        serve(app, socket)
    typer.echo("Studio stopped")
