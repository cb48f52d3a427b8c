"""The command `studio`: design in the browser, on this machine."""

# ruff: noqa: PLC0415 - imports inside the command

import argparse
import contextlib
import logging
import socket
import webbrowser
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import FrameType
from typing import NoReturn

from ligandsmith.cli.arguments import MAX_WORKERS, Parser, add_number, add_path, checked, log, say
from ligandsmith.cli.design import analogues_flags, optimise_flags
from ligandsmith.cli.evaluate import evaluate_flags
from ligandsmith.cli.generate import generate_flags, require_fitting_flags
from ligandsmith.config import Setting
from ligandsmith.errors import LigandsmithError, shortened

FLAGS: dict[str, Callable[[argparse.ArgumentParser], None]] = {
    "generate": generate_flags, "optimise": optimise_flags, "analogues": analogues_flags, "evaluate": evaluate_flags,
}  # fmt: skip
LOOPBACK = ("127.0.0.1", "localhost", "::1")
EVERYWHERE = ("0.0.0.0", "::", "")
SHORTEST_PASSWORD = 8
MISSING = "{} is not installed: pip install 'ligandsmith[studio]'"


class _LineParser(Parser):
    """Raises LigandsmithError for a wrong command line."""

    def error(self, message: str) -> NoReturn:
        raise LigandsmithError(shortened(message.replace("argument --", "", 1), 300))


def check_command(argv: Sequence[str]) -> None:
    """Raise LigandsmithError for a command line that the command would refuse before it looks at any file."""
    parser = _LineParser(prog="ligandsmith", add_help=False)
    FLAGS[argv[0]](parser)
    args = parser.parse_args(list(argv[1:]))
    try:
        if argv[0] == "generate":
            require_fitting_flags(args)
    except argparse.ArgumentTypeError as error:
        raise LigandsmithError(str(error)) from None
    _check_demands(args)


def _check_demands(args: argparse.Namespace) -> None:
    """Read objectives and required interactions, as the command will. Raises LigandsmithError."""
    from ligandsmith.design.interactions import read_requirement
    from ligandsmith.design.objectives import parse_objectives

    objective = getattr(args, "wanted", None) or getattr(args, "objective", None)
    if objective:
        parse_objectives(objective)
    for text in getattr(args, "require", ()):
        read_requirement(text)


def studio_flags(parser: argparse.ArgumentParser) -> None:
    """Flags of `studio`."""
    add_path(
        parser, "--projects", "folder of the projects (default: %(default)s)", default=Path("ligandsmith-projects")
    )
    add_number(parser, "--port", checked(int, Setting("", 0, 65535)), 0, "port; 0: a free one")
    text = "address to listen on; any but this machine's own needs --password-file (default: %(default)s)"
    parser.add_argument("--host", default="127.0.0.1", metavar="ADDRESS", help=text)
    add_path(parser, "--password-file", "file with the password that browsers must give", dest="password_file")
    add_number(parser, "--jobs", checked(int, Setting("", 1, 64)), 1, "jobs that run at the same time")
    text = "processes that score and optimise, or Ray tasks at a time; 0: a process per core scores, at most 8"
    add_number(parser, "--workers", checked(int, Setting("", 0, MAX_WORKERS)), 0, text)
    text = "where they run; ray: on a Ray cluster (default: %(default)s)"
    parser.add_argument("--engine", choices=["local", "ray"], default="local", help=text)
    parser.add_argument("--no-browser", dest="no_browser", action="store_true", help="only print the address")


def run_studio(args: argparse.Namespace) -> None:
    """Serve the pages until Ctrl-C."""
    try:
        import python_multipart  # noqa: F401
        import uvicorn

        from ligandsmith.studio.app import create_app
    except ModuleNotFoundError as error:
        raise LigandsmithError(MISSING.format(error.name)) from None
    from ligandsmith.parallel.signals import handled_signals
    from ligandsmith.studio.commands import Scale
    from ligandsmith.studio.security import Access
    from ligandsmith.studio.service import open_studio

    password = _password(args)
    with contextlib.closing(_socket(args.host, args.port)) as listening, open_studio(
        args.projects, args.jobs, check_command, Scale(args.workers, args.engine)
    ) as studio:  # fmt: skip
        port = listening.getsockname()[1]
        access = Access(frozenset(f"{name}:{port}" for name in _names(args.host)), password)
        address = f"http://{_shown(args.host)}:{port}/" + ("" if password else f"?token={access.token}")
        print(address, flush=True)
        say("The address works once, in one browser. Ctrl-C stops the server; what is made is kept.")
        if not args.no_browser:
            webbrowser.open(address)
        config = uvicorn.Config(
            create_app(studio, access), log_level="warning", access_log=False, server_header=False,
            timeout_graceful_shutdown=2,
        )  # fmt: skip

        class Server(uvicorn.Server):
            """Ends the answers that wait for news before the connections are closed."""

            def handle_exit(self, sig: int, frame: FrameType | None) -> None:
                studio.closing.set()
                super().handle_exit(sig, frame)

        with _quiet(), handled_signals(_stop), contextlib.suppress(KeyboardInterrupt):
            Server(config).run(sockets=[listening])
    say("stopped; the same command goes on")


def _stop(*_: object) -> NoReturn:
    """What uvicorn passes a signal on to, once it has closed its connections."""
    raise KeyboardInterrupt


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Only warnings: what is read for a page is told on the page."""
    level = log.level
    log.setLevel(max(level, logging.WARNING))
    try:
        yield
    finally:
        log.setLevel(level)


def _password(args: argparse.Namespace) -> str:
    """The password of the file, empty without one. Raises LigandsmithError."""
    if args.password_file is None:
        if args.host not in LOOPBACK:
            raise LigandsmithError(
                f"--host {args.host}: others could reach the server; set a password: --password-file"
            )
        return ""
    try:
        text = args.password_file.read_text(encoding="utf-8").strip()
    except UnicodeDecodeError:
        raise LigandsmithError(f"--password-file {args.password_file}: not a text file in UTF-8") from None
    if len(text) < SHORTEST_PASSWORD or "\n" in text:
        raise LigandsmithError(
            f"--password-file {args.password_file}: one line of at least {SHORTEST_PASSWORD} letters is needed"
        )
    return str(text)


def _socket(host: str, port: int) -> socket.socket:
    """Listens at an address: who reads it may connect at once, before the server answers. Raises LigandsmithError."""
    with contextlib.ExitStack() as unless_bound:
        try:
            found = socket.getaddrinfo(host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
            listening = socket.socket(*found[0][:3])  # asyncio sends without delay where it knows that this is TCP
            unless_bound.enter_context(listening)
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listening.bind(found[0][4])
            listening.listen()
        except OSError as error:
            raise LigandsmithError(f"--host {host} --port {port}: {error.strerror or error}; choose others") from None
        unless_bound.pop_all()
    return listening


def _shown(host: str) -> str:
    if host in EVERYWHERE:
        return socket.gethostname()
    return f"[{host}]" if ":" in host else host


def _names(host: str) -> Iterator[str]:
    """The names by which a server on an address may be asked."""
    if host in LOOPBACK:
        yield from ("127.0.0.1", "localhost", "[::1]")
        return
    yield _shown(host).lower()
    if host in EVERYWHERE:
        yield from ("127.0.0.1", "localhost", "[::1]", socket.getfqdn().lower())
        with contextlib.suppress(OSError):
            yield from socket.gethostbyname_ex(socket.gethostname())[2]
