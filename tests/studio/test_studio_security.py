"""Only the browser that was opened here is answered, and no page of another site."""

import asyncio
import json
import re
import time
from collections.abc import Iterator
from typing import Any

import pytest
from fastapi.testclient import TestClient
from studio_client import HOST, Opened, refused, studio_in

from ligandsmith.files import MEGABYTE
from ligandsmith.studio import security
from ligandsmith.studio.app import create_app
from ligandsmith.studio.security import Access


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Opened]:
    with studio_in(tmp_path_factory.mktemp("security")) as found:
        yield found


def stranger(opened: Opened, access: Access | None = None) -> TestClient:
    """A browser that the server does not know."""
    return TestClient(create_app(opened.studio, access or opened.access), f"http://{HOST}", follow_redirects=False)


def routes(opened: Opened) -> list[tuple[str, str]]:
    """Method and address of every route of the API."""
    paths = opened.client.get("/openapi.json").json()["paths"]
    return [(method.upper(), re.sub(r"\{\w+\}", "1", path)) for path, methods in paths.items() for method in methods]


def test_the_token_lets_one_browser_in_and_works_once(opened: Opened) -> None:
    access = Access(frozenset({HOST}))
    first, second = stranger(opened, access), stranger(opened, access)
    answer = first.get("/", params={"token": access.token})
    assert (answer.status_code, answer.headers["location"]) == (303, "/")
    assert "HttpOnly" in answer.headers["set-cookie"]
    assert "SameSite=Strict" in answer.headers["set-cookie"]
    assert first.get("/api/projects").status_code == 200
    answer = second.get("/", params={"token": access.token})
    assert answer.status_code == 403
    assert "used already" in answer.text
    refused(second.get("/api/projects"), 403, "ligandsmith studio")
    assert first.get("/", params={"token": access.token}).status_code == 303  # reload of the first address


@pytest.mark.parametrize("token", ["", "x", "ä", "0" * 5000])
def test_a_wrong_token_is_refused_and_spends_nothing(opened: Opened, token: str) -> None:
    access = Access(frozenset({HOST}))
    browser = stranger(opened, access)
    assert browser.get("/", params={"token": token}).status_code == 403
    assert browser.get("/", params={"token": access.token}).status_code == 303


def test_every_route_is_closed_to_strangers(opened: Opened) -> None:
    known = routes(opened)
    assert len(known) > 20
    for method, path in [*known, ("GET", "/"), ("GET", "/projects/x"), ("GET", "/openapi.json"), ("GET", "/nothing")]:
        answer = stranger(opened).request(method, path, headers={"X-Ligandsmith": "1"})
        assert answer.status_code == 403, (method, path)
        assert answer.text.count("\n") <= 1


@pytest.mark.parametrize("name", ["", "forged"])
def test_a_forged_cookie_is_refused(opened: Opened, name: str) -> None:
    cookie = f"{opened.access.cookie}={name}"
    refused(stranger(opened).get("/api/projects", headers={"cookie": cookie}), 403)
    refused(stranger(opened).get("/api/projects", headers={"cookie": "\x01;=;"}), 403)


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1:9999", "localhost:8000.evil.example", ""])
def test_another_host_name_is_refused(opened: Opened, host: str) -> None:
    """A name of a stranger that points to this machine (DNS rebinding)."""
    refused(opened.client.get("/api/projects", headers={"host": host}), 403, "name of this address")


@pytest.mark.parametrize("origin", ["http://evil.example", "null", "https://127.0.0.1:8000", "http://127.0.0.1:9999"])
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_page_of_another_site_is_refused(opened: Opened, origin: str, method: str) -> None:
    before = len(opened.studio.projects.all())
    answer = opened.client.request(method, "/api/projects", headers={"origin": origin}, json={"title": "x"})
    refused(answer, 403, "another site")
    assert len(opened.studio.projects.all()) == before


def test_own_pages_may_ask(opened: Opened) -> None:
    assert opened.client.get("/api/projects", headers={"origin": f"http://{HOST}"}).status_code == 200


def test_changes_need_the_header(opened: Opened) -> None:
    for method, path in routes(opened):
        if method != "GET":
            answer = opened.client.request(method, path, headers={"X-Ligandsmith": ""})
            refused(answer, 403, "X-Ligandsmith")


def test_every_answer_has_the_policy(opened: Opened) -> None:
    for answer in (
        opened.client.get("/"),
        opened.client.get("/api/projects"),
        opened.client.get("/api/projects/none"),
        stranger(opened).get("/api/projects"),
    ):
        policy = answer.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "script-src 'self'" in policy
        assert "unsafe-inline'; img" in policy  # styles alone
        assert "frame-ancestors 'none'" in policy
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["referrer-policy"] == "no-referrer"  # the token is in the address
    assert opened.client.get("/api/projects").headers["cache-control"] == "no-store"


def test_the_api_is_described_and_the_description_asks_no_other_host(opened: Opened) -> None:
    assert opened.client.get("/docs").status_code == 404
    paths = opened.client.get("/openapi.json").json()["paths"]
    files = {"structures/{which}", "log", "events", "depiction.svg", "depict", "molecule.sdf", "export"}
    for path, methods in paths.items():
        for method, route in methods.items():
            assert route["description"], path
            if not path.endswith(tuple(files)):
                schema = route["responses"]["200"]["content"]["application/json"]["schema"]
                assert "$ref" in json.dumps(schema), (method, path)


@pytest.mark.parametrize("chunked", [False, True])
def test_a_large_upload_is_refused_with_a_reason(
    opened: Opened, chunked: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(security, "LARGEST_UPLOAD", 3 * MEGABYTE)
    project = opened.project()
    before = opened.client.get(project).json()
    boundary = b"--x\r\ncontent-disposition: form-data; name=file; filename=a.pdb\r\n\r\n"
    body = boundary + b"A" * (5 * MEGABYTE) + b"\r\n--x--\r\n"

    def pieces() -> Iterator[bytes]:
        for start in range(0, len(body), 65_536):
            yield body[start : start + 65_536]

    content: Any = pieces() if chunked else body
    headers = {"content-type": "multipart/form-data; boundary=x"}
    refused(opened.client.post(f"{project}/structures", content=content, headers=headers), 413, "more than 3 MB")
    assert opened.client.get(project).json() == before
    small = opened.client.post(f"{project}/structures", content=body[:9], headers=headers)
    assert small.status_code in (400, 422)


def test_a_large_request_without_a_file_is_refused(opened: Opened) -> None:
    body = json.dumps({"title": "x" * 2 * MEGABYTE})
    refused(opened.client.post("/api/projects", content=body), 413, "more than 1 MB")


def test_a_slow_upload_is_refused(opened: Opened, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that stops in the middle for good."""
    monkeypatch.setattr(security, "SLOWEST_UPLOAD", 0.2)
    path = f"{opened.project()}/structures"
    cookie = f"{opened.access.cookie}={opened.access.session}"
    headers = {"host": HOST, "cookie": cookie, "x-ligandsmith": "1", "content-type": "multipart/form-data; boundary=x"}
    pieces = iter([b"--x\r\n"])
    sent: list[Any] = []

    async def receive() -> dict[str, Any]:
        if (piece := next(pieces, None)) is None:
            await asyncio.sleep(60)
        return {"type": "http.request", "body": piece, "more_body": True}

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {
        "type": "http", "method": "POST", "path": path, "raw_path": path.encode(), "query_string": b"",
        "headers": [(name.encode(), value.encode()) for name, value in headers.items()], "http_version": "1.1",
        "scheme": "http", "root_path": "", "server": ("127.0.0.1", 8000), "client": ("127.0.0.1", 1),
    }  # fmt: skip
    began = time.monotonic()
    asyncio.run(create_app(opened.studio, opened.access)(scope, receive, send))
    assert time.monotonic() - began < 10
    assert sent[0]["status"] == 408
    assert "did not come within" in sent[1]["body"].decode()


def test_a_password_takes_the_place_of_the_token(opened: Opened, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(security, "LOGIN_SECONDS", 0.0)
    access = Access(frozenset({HOST}), password="correct horse")
    browser = stranger(opened, access)
    assert browser.get("/", params={"token": access.token}).status_code == 403
    assert browser.get("/").headers["location"] == "/login"
    assert "password" in browser.get("/login").text
    wrong = browser.post("/login", data={"password": "wrong"})
    assert wrong.headers["location"] == "/login?wrong=true"
    assert browser.get("/login?wrong=true").status_code == 403
    refused(browser.get("/api/projects"), 403)
    assert browser.post("/login", data={"password": "correct horse"}).headers["location"] == "/"
    assert browser.get("/api/projects").status_code == 200
    foreign = stranger(opened, access).post(
        "/login", data={"password": "correct horse"}, headers={"origin": "http://evil.example"}
    )
    assert foreign.status_code == 403


def test_passwords_cannot_be_tried_quickly() -> None:
    access = Access(frozenset({HOST}), password="correct horse")
    assert not access.login("wrong")
    assert not access.login("correct horse")  # within a second
    access.last_login -= security.LOGIN_SECONDS
    assert access.login("correct horse")


def test_nobody_logs_in_where_there_is_no_password(opened: Opened) -> None:
    assert not Access(frozenset({HOST})).login("")
    assert stranger(opened).post("/login", data={"password": ""}).status_code in (303, 422)
    refused(stranger(opened).get("/api/projects"), 403)
