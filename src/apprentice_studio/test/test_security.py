"""Strangers: other hosts, other sites, no token, too much."""

from __future__ import annotations

import json

import pytest
from fastapi import APIRouter, WebSocket
from starlette.websockets import WebSocketDisconnect

from apprentice_studio.security import COOKIE, Access

JSON = {"Content-Type": "application/json"}
TAG = {"name": "x", "user": "ann"}


def sockets() -> APIRouter:
    router = APIRouter()

    @router.websocket("/api/watch")
    async def watch(socket: WebSocket) -> None:
        await socket.accept()
        await socket.send_text("hello")
        await socket.close()

    return router


def tag_url(served) -> str:
    return f"/api/episodes/{served.ids[0]}/tags"


@pytest.mark.parametrize("host", [
    "evil.example", "127.0.0.1.evil.example:8090", "", "localhost.evil", "192.168.1.4:8090", "[", "127.0.0.1@evil.example",
])
def test_another_host_name_is_refused(served, host):
    answer = served.client.get("/api/session", headers={"Host": host})
    assert answer.status_code == 403 and "Host" in answer.json()["error"]


@pytest.mark.parametrize("host", ["localhost:8090", "127.0.0.1", "[::1]:8090", "LOCALHOST"])
def test_this_machines_names_are_fine(served, host):
    assert served.client.get("/api/session", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize("headers", [
    {"Origin": "http://evil.example"}, {"Origin": "null"}, {"Origin": "http://127.0.0.1:9999"}, {"Origin": "http://["},
    {"Sec-Fetch-Site": "cross-site"}, {"Sec-Fetch-Site": "same-site"},
])
def test_a_strangers_page_cannot_write(served, headers):
    before = served.store.catalogue.revision
    assert served.client.post(tag_url(served), json=TAG, headers=headers).status_code == 403
    assert served.client.delete("/api/queries/x", headers=headers).status_code == 403
    assert served.store.catalogue.revision == before


def test_our_own_page_can_write(served):
    headers = {"Origin": "http://127.0.0.1:8090", "Sec-Fetch-Site": "same-origin"}
    assert served.client.post(tag_url(served), json=TAG, headers=headers).status_code == 200


def test_a_form_cannot_write(served):
    assert served.client.post(tag_url(served), content=json.dumps(TAG), headers={"Content-Type": "text/plain"}).status_code == 415


def test_sockets_are_guarded_like_writes(open_client):
    with open_client(extra_routers=[sockets()]) as client:
        with client.websocket_connect("/api/watch", headers={"Origin": "http://127.0.0.1:8090", "Host": "127.0.0.1:8090"}) as socket:
            assert socket.receive_text() == "hello"
        for headers in ({"Origin": "http://evil.example", "Host": "127.0.0.1:8090"}, {"Host": "evil.example"}):
            with pytest.raises(WebSocketDisconnect), client.websocket_connect("/api/watch", headers=headers):
                pass


def test_a_large_body_is_cut_off(served, open_client):
    with open_client(access=Access(max_body=1000)) as client:
        huge = json.dumps({**TAG, "name": "x" * 2000}).encode()
        assert client.post(tag_url(served), content=huge, headers=JSON).status_code == 413
        # Without a stated length: counted as it comes.
        chunked = client.post(tag_url(served), content=(huge[i : i + 100] for i in range(0, len(huge), 100)), headers=JSON)
        assert chunked.status_code == 413 and "1000" in chunked.json()["error"]
        assert client.post(tag_url(served), content=b"{}", headers={**JSON, "Content-Length": "-5"}).status_code == 413


@pytest.mark.parametrize("body", [b"", b"{", b"[1]", b"\xff\xfe", b"null", b"[" * 100_000, b'{"name": ' + b"9" * 5000 + b"}"])
def test_bodies_that_are_no_json_object(served, body):
    answer = served.client.post(tag_url(served), content=body, headers=JSON)
    assert answer.status_code in (400, 422) and set(answer.json()) == {"error"} and len(answer.json()["error"]) <= 500


@pytest.mark.parametrize("query", [
    "limit=0", "limit=501", "limit=x", "offset=-1", "offset=99999999999999999999999", "query=" + "x" * 10_001, "query=%00", "query=%ff",
])
def test_bad_query_strings(served, query):
    answer = served.client.get(f"/api/episodes?{query}")
    assert answer.status_code in (400, 422) and "\n" not in answer.json()["error"]


def test_without_a_token_another_address_cannot_be_bound():
    with pytest.raises(ValueError, match="token"):
        Access(host="0.0.0.0")


@pytest.fixture
def guarded(open_client):
    with open_client(
        base_url="http://192.168.1.4:8090", access=Access(host="0.0.0.0", token="right"), extra_routers=[sockets()]
    ) as client:
        yield client


def test_every_request_needs_the_token(guarded, served):
    for path in ("/", "/api/session", f"/api/episodes/{served.ids[0]}/frames/front/0.png", "/api/openapi.json", "/nosuch"):
        answer = guarded.get(path)
        assert answer.status_code == 401 and "token" in answer.json()["error"], path
    for wrong in ("Bearer wrong", "Bearer ", "Basic right", "right", "Bearer right2", "Bearer r\u00efght".encode("latin-1")):
        assert guarded.get("/api/session", headers={"Authorization": wrong}).status_code == 401
    assert guarded.get("/api/session", headers={"Authorization": "Bearer right"}).json()["token_needed"] is True
    assert guarded.get("/api/session?token=right").status_code == 401, "an address with a token ends up in logs"


def test_the_printed_address_sets_a_cookie(guarded):
    answer = guarded.get("/?token=right&view=sketch", follow_redirects=False)
    cookie = answer.headers["set-cookie"].lower()
    assert answer.status_code == 303 and answer.headers["location"] == "/?view=sketch"
    assert "httponly" in cookie and "samesite=strict" in cookie
    assert guarded.get("/api/session").status_code == 200
    assert guarded.get("/?token=wrong", cookies={COOKIE: "bad"}).status_code == 401


def test_sockets_need_the_token(guarded):
    host = {"Host": "192.168.1.4:8090"}
    with pytest.raises(WebSocketDisconnect), guarded.websocket_connect("/api/watch", headers=host):
        pass
    with guarded.websocket_connect("/api/watch", headers={**host, "Cookie": f"{COOKIE}=right"}) as socket:
        assert socket.receive_text() == "hello"


def test_rebinding_is_refused_with_a_token_too(guarded):
    assert guarded.get("/api/session", headers={"Authorization": "Bearer right", "Host": "evil.example"}).status_code == 403


def test_answers_forbid_framing_and_sniffing(served):
    for path in ("/api/session", "/api/nosuch"):
        headers = served.client.get(path).headers
        assert headers["x-content-type-options"] == "nosniff" and "frame-ancestors 'none'" in headers["content-security-policy"]


def test_static_files_do_not_lead_out(open_client, tmp_path):
    static = tmp_path / "static"
    static.mkdir()
    (static / "index.html").write_text("<p>studio</p>")
    (tmp_path / "secret.txt").write_text("secret")
    (static / "link.txt").symlink_to(tmp_path / "secret.txt")
    with open_client(static=static) as client:
        assert "studio" in client.get("/").text and client.get("/api/session").status_code == 200
        for path in ("/../secret.txt", "/..%2fsecret.txt", "/%2e%2e/secret.txt", "//etc/passwd", "/link.txt"):
            answer = client.get(path)
            assert answer.status_code in (404, 403, 400, 422) and "secret" not in answer.text, path


def test_a_fault_of_ours_is_one_line(served, open_client, monkeypatch):
    from fastapi.testclient import TestClient

    client = TestClient(served.client.app, base_url="http://127.0.0.1:8090", raise_server_exceptions=False)
    monkeypatch.setattr(served.client.app.state.studio, "bags", None)
    answer = client.get(f"/api/episodes/{served.ids[0]}")
    assert answer.status_code == 500 and set(answer.json()) == {"error"}
