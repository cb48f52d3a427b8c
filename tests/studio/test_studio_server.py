"""`ligandsmith studio` as a user starts it: killed, stopped, started again; nothing is lost or done twice."""

import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from studio_client import QUICK, SLOW, Server, ended, refused, until

from ligandsmith.cli.main import main
from ligandsmith.cli.studio import SHORTEST_PASSWORD


@pytest.fixture
def servers(tmp_path: Path) -> Iterator[list[Server]]:
    """Servers that are ended with the test."""
    started: list[Server] = []
    yield started
    for server in started:
        if server.process.poll() is None:
            server.end(signal.SIGKILL)


def start(servers: list[Server], folder: Path, *flags: str) -> Server:
    servers.append(Server(folder, *flags))
    return servers[-1]


def sampled(folder: Path) -> str:
    (path,) = (folder / "projects").glob("*/jobs/0001-generate/ligands.sdf")
    return path.read_text()


def running(folder: Path) -> list[int]:
    """The commands that run in projects below a folder."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            here = Path(os.readlink(process / "cwd")).is_relative_to(folder)
            if here and b"jobs/0001-generate" in (process / "cmdline").read_bytes():
                found.append(int(process.name))
        except OSError:  # it has ended meanwhile
            continue
    return found


def send(command: list[int], number: signal.Signals) -> None:
    """Signal all processes of a command."""
    for process in command:
        os.kill(process, number)


def test_a_killed_server_loses_no_molecule(servers: list[Server], tmp_path: Path) -> None:
    """Killed while a command samples: the command goes on, the next server takes it over, and what comes out is what
    comes out of a run that nobody disturbs."""
    (tmp_path / "whole").mkdir()
    (tmp_path / "parts").mkdir()
    whole = start(servers, tmp_path / "whole")
    client = whole.enter()
    id = client.post("/api/projects", json={"example": "7sza"}).json()["id"]
    job = client.post(f"/api/projects/{id}/jobs", json={"task": "generate", "fields": SLOW}).json()
    assert ended(client, job)["state"] == "done"
    expected = client.get(f"/api/projects/{id}/molecules?sort=index").json()["rows"]
    assert whole.end() == 0

    first = start(servers, tmp_path / "parts")
    client = first.enter()
    client.post("/api/projects", json={"example": "7sza"})
    client.post(f"/api/projects/{id}/jobs", json={"task": "generate", "fields": SLOW})
    until(client, job, lambda view: view["molecules"] >= 2)
    command = running(tmp_path / "parts")
    assert command
    send(command, signal.SIGSTOP)  # so that it is not done before the next server is there
    waiting = client.post(f"/api/projects/{id}/jobs", json={"task": "generate", "fields": QUICK}).json()
    before = client.get(f"/api/projects/{id}/molecules").json()["rows"]
    first.end(signal.SIGKILL)
    assert sorted(running(tmp_path / "parts")) == sorted(command)

    second = start(servers, tmp_path / "parts")
    client = second.enter()
    view = client.get(f"/api/jobs/{job['id']}").json()
    send(command, signal.SIGCONT)
    assert view["state"] in ("preparing", "sampling", "scoring"), view
    assert view["molecules"] >= 2
    assert len(running(tmp_path / "parts")) <= 1  # never two in one folder
    assert client.get(f"/api/jobs/{waiting['id']}").json()["state"] == "queued"
    assert ended(client, job)["state"] == "done"
    assert ended(client, waiting)["state"] == "done"
    rows = client.get(f"/api/projects/{id}/molecules?sort=index&job=1").json()["rows"]
    assert rows == expected
    kept = {row["id"]: row["smiles"] for row in rows}
    assert {row["id"]: row["smiles"] for row in before}.items() <= kept.items()
    assert sampled(tmp_path / "parts") == sampled(tmp_path / "whole")
    assert second.end() == 0


def test_a_job_whose_command_died_with_the_server_is_continued(servers: list[Server], tmp_path: Path) -> None:
    """As at the end of the machine: server and command are killed. Then the server is stopped in the usual way."""
    first = start(servers, tmp_path)
    client = first.enter()
    id = client.post("/api/projects", json={"example": "7sza"}).json()["id"]
    job = client.post(f"/api/projects/{id}/jobs", json={"task": "generate", "fields": SLOW}).json()
    until(client, job, lambda view: view["molecules"] >= 2)
    (pid,) = running(tmp_path)
    first.end(signal.SIGKILL)
    os.kill(pid, signal.SIGKILL)
    while running(tmp_path):
        time.sleep(0.05)

    second = start(servers, tmp_path)
    client = second.enter()
    view = client.get(f"/api/jobs/{job['id']}").json()
    assert view["state"] == "interrupted"
    assert "continue it" in view["message"]
    assert view["molecules"] >= 2
    again = client.post(f"/api/jobs/{job['id']}:continue").json()
    assert again["command"] == job["command"]
    until(client, job, lambda view: view["state"] in ("sampling", "scoring"))
    assert second.end(signal.SIGTERM) == 0
    assert running(tmp_path) == []  # a server that is stopped takes its commands along

    third = start(servers, tmp_path)
    client = third.enter()
    view = client.get(f"/api/jobs/{job['id']}").json()
    assert (view["state"], "stopped with the server" in view["message"]) == ("interrupted", True)
    client.post(f"/api/jobs/{job['id']}:continue")
    done = ended(client, job)
    assert (done["state"], done["done"]) == ("done", 30)
    assert third.end() == 0
    assert "Traceback" not in (tmp_path / "stderr.txt").read_text()


@pytest.mark.gate
def test_jobs_are_scored_on_ray(servers: list[Server], tmp_path: Path) -> None:
    server = start(servers, tmp_path, "--engine", "ray", "--workers", "2")
    client = server.enter()
    id = client.post("/api/projects", json={"example": "7sza"}).json()["id"]
    job = client.post(f"/api/projects/{id}/jobs", json={"task": "generate", "fields": QUICK}).json()
    assert "--workers 2 --engine ray" in job["command"]
    assert ended(client, job)["state"] == "done"
    rows = client.get(f"/api/projects/{id}/molecules").json()["rows"]
    assert all(isinstance(row["values"]["vina_min"], float) for row in rows)
    assert server.end() == 0


def test_two_servers_never_share_a_folder(servers: list[Server], tmp_path: Path) -> None:
    first = start(servers, tmp_path)
    other = subprocess.run(
        [sys.executable, "-m", "ligandsmith", "studio", "--projects", str(tmp_path / "projects"), "--no-browser"],
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert other.returncode == 1
    assert "another process is writing" in other.stderr
    assert other.stderr.count("\n") == 1
    assert first.enter().get("/api/projects").status_code == 200


def test_a_stopped_server_says_goodbye(servers: list[Server], tmp_path: Path) -> None:
    server = start(servers, tmp_path)
    assert re.fullmatch(r"http://127\.0\.0\.1:\d+/\?token=[\w-]{32}", server.address)
    client = server.enter()
    client.get("/api/projects")
    assert server.end() == 0
    assert (tmp_path / "stderr.txt").read_text() == ""


def test_a_tab_that_listens_does_not_keep_the_server_alive(servers: list[Server], tmp_path: Path) -> None:
    server = start(servers, tmp_path)
    client = server.enter()
    id = client.post("/api/projects", json={"example": "7sza"}).json()["id"]
    job = client.post(f"/api/projects/{id}/jobs", json={"task": "generate", "fields": SLOW}).json()
    with client.stream("GET", f"/api/jobs/{job['id']}/events") as stream:
        assert next(stream.iter_lines()) == "event: job"
        began = time.monotonic()
        server.process.send_signal(signal.SIGINT)
        assert server.process.wait(120) == 0
        assert time.monotonic() - began < 60
    assert (tmp_path / "stderr.txt").read_text() == ""


def test_only_this_machine_is_served(servers: list[Server], tmp_path: Path) -> None:
    server = start(servers, tmp_path)
    port = int(server.address.split(":")[2].split("/")[0])
    refused(server.client.get("/api/projects"), 403)
    others = {address[4][0] for address in socket.getaddrinfo(socket.gethostname(), None, socket.AF_INET)}
    for address in others - {"127.0.0.1", "127.0.1.1"}:
        with pytest.raises(httpx.ConnectError):
            httpx.get(f"http://{address}:{port}/")


def test_a_large_file_is_refused_by_the_real_server(servers: list[Server], tmp_path: Path) -> None:
    """200 MB; the client gets the answer, not a broken connection."""
    server = start(servers, tmp_path)
    client = server.enter()
    id = client.post("/api/projects", json={"title": "x"}).json()["id"]

    def pieces() -> Iterator[bytes]:
        yield b"--x\r\ncontent-disposition: form-data; name=file; filename=a.pdb\r\n\r\n"
        for _ in range(200):
            yield b"A" * 10**6
        yield b"\r\n--x--\r\n"

    headers = {"content-type": "multipart/form-data; boundary=x"}
    for length in ({}, {"content-length": str(200 * 10**6 + 75)}):
        content = pieces() if not length else b"".join(pieces())
        answer = client.post(f"/api/projects/{id}/structures", content=content, headers={**headers, **length})
        refused(answer, 413, "more than 100 MB")
    assert client.get("/api/projects").status_code == 200


@pytest.mark.parametrize(
    ("words", "status", "said"),
    [
        (["--host", "0.0.0.0"], 1, "--password-file"),
        (["--host", "0.0.0.0", "--password-file", "none.txt"], 1, "none.txt"),
        (["--host", "0.0.0.0", "--password-file", "short.txt"], 1, f"at least {SHORTEST_PASSWORD}"),
        (["--host", "no.such.host.invalid"], 1, "--password-file"),
        (["--projects", "file.txt"], 1, "file.txt"),
        (["--port", "70000"], 2, "--port"),
        (["--jobs", "0"], 2, "--jobs"),
    ],
)
def test_a_command_that_cannot_be_says_so(
    words: list[str], status: int, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [str(tmp_path / word) if word.endswith(".txt") else word for word in words]
    (tmp_path / "short.txt").write_text("short\n")
    (tmp_path / "file.txt").write_text("x")
    try:
        found = main(["studio", "--no-browser", "--projects", str(tmp_path / "projects"), *words])
    except SystemExit as exit:
        found = exit.code
    err = capsys.readouterr().err
    assert found == status
    assert said in err
    assert err.count("\n") == 1


def test_a_port_that_is_taken_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert main(["studio", "--no-browser", "--port", str(port), "--projects", str(tmp_path / "p")]) == 1
    assert f"--port {port}" in capsys.readouterr().err


def test_the_address_can_be_opened_as_soon_as_it_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The connection waits until the server answers; it was refused."""

    class Connected(Exception):
        """Ends the server before it answers."""

    def connect(address: str) -> None:
        url = httpx.URL(address)
        with socket.create_connection((url.host, url.port or 80), timeout=5):
            raise Connected

    monkeypatch.setattr("webbrowser.open", connect)
    with pytest.raises(Connected):
        main(["studio", "--projects", str(tmp_path / "projects")])


def test_with_a_password_others_may_come_in(servers: list[Server], tmp_path: Path) -> None:
    (tmp_path / "password.txt").write_text("correct horse\n")
    server = start(servers, tmp_path, "--host", "0.0.0.0", "--password-file", str(tmp_path / "password.txt"))
    assert "token" not in server.address
    port = int(server.address.rsplit(":", 1)[1].strip("/"))
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", headers={"X-Ligandsmith": "1"}) as client:
        assert client.get("/").headers["location"] == "/login"
        refused(client.get("/api/projects"), 403)
        assert client.post("/login", data={"password": "correct horse"}).headers["location"] == "/"
        assert client.get("/api/projects").json() == []
        refused(client.get("/api/projects", headers={"host": f"evil.example:{port}"}), 403)


@pytest.mark.parametrize("package", ["uvicorn", "fastapi", "python_multipart"])
def test_a_missing_package_is_told(
    package: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    monkeypatch.delitem(sys.modules, "ligandsmith.studio.app", raising=False)
    assert main(["studio", "--no-browser", "--projects", str(tmp_path / "p")]) == 1
    err = capsys.readouterr().err
    assert err == f"error: {package} is not installed: pip install 'ligandsmith[studio]'\n"
    assert not (tmp_path / "p").exists()


def test_a_damaged_list_of_jobs_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "studio.sqlite").write_bytes(b"no database" * 100)
    assert main(["studio", "--no-browser", "--projects", str(tmp_path)]) == 1
    assert "studio.sqlite" in capsys.readouterr().err
