"""`apprentice studio` as a process: its address, its end, a port in use, a token; and the pictures that the simulator draws for it."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest

from apprentice_core.errors import ApprenticeError
from apprentice_core.images import decode_png
from apprentice_store.store import Store
from apprentice_store.testing import child_environment
from apprentice_workflows.cli.studio import studio
from apprentice_workflows.overlays import Overlays


@pytest.fixture
def data(tmp_path: Path) -> Path:
    Store(tmp_path / "bags").close()
    return tmp_path / "bags"


def start(data: Path, *options: str) -> subprocess.Popen:
    command = [sys.executable, "-m", "apprentice_workflows", "studio", "-d", str(data), *options]
    return subprocess.Popen(command, env=child_environment(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def address_of(server: subprocess.Popen) -> str:
    assert server.stdout is not None
    line = server.stdout.readline()
    found = re.search(r"http://\S+", line)
    assert found, line
    return found.group()


def wait_for(url: str, **options) -> httpx.Response:
    for _ in range(200):
        try:
            return httpx.get(url, **options)
        except httpx.TransportError:
            time.sleep(0.05)
    raise AssertionError(f"{url} does not answer")


def test_it_says_where_it_is_refuses_a_used_port_and_ends_on_ctrl_c(data):
    server = start(data, "--port", "0")
    try:
        url = address_of(server)
        assert url.startswith("http://127.0.0.1:") and "token" not in url
        assert wait_for(f"{url}api/session").json()["data_folder"] == "bags"
        second = start(data, "--port", url.rstrip("/").rpartition(":")[2])
        told, _ = second.communicate(timeout=60)
        assert second.returncode == 2 and told.count("\n") == 1 and "is in use" in told
        server.send_signal(signal.SIGINT)
        rest, _ = server.communicate(timeout=30)
        assert server.returncode == 0 and "stopped" in rest and "Traceback" not in rest
    finally:
        server.kill()
        server.communicate()


def test_another_address_needs_the_printed_token(data):
    server = start(data, "--port", "0", "--host", "0.0.0.0", "--name", "127.0.0.2")
    try:
        url = address_of(server)
        base, _, token = url.partition("?token=")
        assert len(token) >= 32 and base.startswith("http://127.0.0.2:")
        assert wait_for(f"{base}api/session").status_code == 401
        assert httpx.get(f"{base}api/session", headers={"Authorization": f"Bearer {token}"}).status_code == 200
        with httpx.Client(follow_redirects=True) as browser:
            assert browser.get(url).status_code == 200 and browser.get(f"{base}api/session").status_code == 200
        server.send_signal(signal.SIGTERM)
        rest, _ = server.communicate(timeout=30)
        assert server.returncode == 0 and "stopped" in rest
    finally:
        server.kill()
        server.communicate()


def test_a_folder_that_is_not_there(tmp_path):
    with pytest.raises(ApprenticeError, match="does not exist"):
        studio(tmp_path / "nosuch", port=0)
    assert not (tmp_path / "nosuch").exists()


def test_overlays_show_the_start_and_are_drawn_once(tmp_path, monkeypatch):
    overlays = Overlays(tmp_path / "overlays")
    first = overlays("lift", "normal", "n3", "basket_front_left")
    assert first is not None and decode_png(first).std() > 10
    monkeypatch.setattr(overlays, "_draw", lambda *_: pytest.fail("drew it again"))
    assert overlays("lift", "normal", "n3", "basket_front_left") == first
    assert overlays("lift", "normal", "n3", "basket_front_right") not in (None, first)
    assert overlays("lift", "normal", "n3", "nosuch") is None and overlays("pick_place", "normal", "n3", "basket_front_left") is None
