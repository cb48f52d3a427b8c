"""The command line: the table of commands, and what all of them share.

Heavy imports happen inside the commands, so that `--help` answers at once.
"""

import argparse
import errno
import logging
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib import metadata
from typing import Any, NamedTuple, TextIO

from ligandsmith.cli import data, design, doctor, evaluate, finetune, generate, protein, select, studio, train
from ligandsmith.cli.arguments import Parser, positive
from ligandsmith.errors import LigandsmithError
from ligandsmith.files import LARGEST_FILE, clear_temporary_folders, file_limit

# Waiting threads must not spin: on cores that others use too, that costs several times the work. Read with torch.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
OK, FAILED, USAGE, INTERRUPTED = 0, 1, 2, 130


class Command(NamedTuple):
    """A subcommand: one line of help, its flags, and what it does."""

    help: str
    flags: Callable[[argparse.ArgumentParser], None]
    run: Callable[[argparse.Namespace], None]

    @property
    def description(self) -> str:
        """The line of help as a sentence."""
        return f"{self.help[0].upper()}{self.help[1:]}."


COMMANDS: dict[str, Command] = {
    "prepare": Command("make a data set from protein-ligand complexes", data.prepare_flags, data.run_prepare),
    "split": Command("split a data set without leakage", data.split_flags, data.run_split),
    "conformers": Command("make a data set of ligands from SMILES", data.conformers_flags, data.run_conformers),
    "properties": Command("add QED, SA and logP to a data set", data.properties_flags, data.run_properties),
    "pseudo-complexes": Command(
        "make a data set for pre-training from proteins alone", data.pseudo_complexes_flags, data.run_pseudo_complexes
    ),
    "train-vae": Command("train the ligand or the protein VAE", train.train_vae_flags, train.run_train_vae),
    "train-denoiser": Command("train the diffusion model", train.train_denoiser_flags, train.run_train_denoiser),
    "train-all": Command("train everything together, on one or many GPUs", train.train_all_flags, train.run_train_all),
    "prepare-protein": Command(
        "complete and protonate a protein", protein.prepare_protein_flags, protein.run_prepare_protein
    ),
    "finetune": Command(
        "fine-tune trained weights on your own complexes or molecules", finetune.finetune_flags, finetune.run_finetune
    ),
    "generate": Command("generate ligands for a pocket", generate.generate_flags, generate.run_generate),
    "optimise": Command("improve ligands in rounds, by objectives", design.optimise_flags, design.run_optimise),
    "analogues": Command("generate neighbours of a ligand, in its place", design.analogues_flags, design.run_analogues),
    "export": Command("write a checkpoint as safetensors and model card", evaluate.export_flags, evaluate.run_export),
    "evaluate": Command("score molecules of any method", evaluate.evaluate_flags, evaluate.run_evaluate),
    "report": Command(
        "write an HTML page of an evaluation, optimisation or training run", evaluate.report_flags, evaluate.run_report
    ),
    "relax": Command("relax ligands in their pocket", select.relax_flags, select.run_relax),
    "rank": Command("choose the best of evaluated molecules", select.rank_flags, select.run_rank),
    "studio": Command("design in the browser, on this machine", studio.studio_flags, studio.run_studio),
    "doctor": Command("show installed packages and what training needs here", doctor.doctor_flags, doctor.run_doctor),
}


def _shared_flags(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("output").add_mutually_exclusive_group()
    group.add_argument("--quiet", action="store_true", help="print only errors and the path of the result")
    group.add_argument("--verbose", action="store_true", help="print more about what is done")
    text = f"largest file that is read, unpacked, MB (default: {LARGEST_FILE})"
    parser.add_argument("--max_file_size", type=positive, metavar="N", help=text)
    parser.add_argument("--version", action="version", version=f"ligandsmith {metadata.version('ligandsmith')}")


def build_parser(command: str | None = None) -> argparse.ArgumentParser:
    """The parser of one command, or of all."""
    if command is not None:
        return _with_command(Parser(description=COMMANDS[command].description), COMMANDS[command])
    parser = Parser(prog="ligandsmith", description="Generate 3D ligands for a protein pocket, and train the models.")
    parser.add_argument("--version", action="version", version=f"ligandsmith {metadata.version('ligandsmith')}")
    subparsers = parser.add_subparsers(
        dest="command", required=True, metavar="COMMAND", title="commands",
        help="`ligandsmith COMMAND --help` shows the flags of a command",
    )  # fmt: skip
    for name, entry in COMMANDS.items():
        _with_command(subparsers.add_parser(name, help=entry.help, description=entry.description), entry)
    shell = subparsers.add_parser("completion", help="print a completion script for a shell")
    shell.add_argument("shell", choices=["bash", "zsh", "tcsh"], help="to be read by the shell")
    _shared_flags(shell)
    shell.set_defaults(run=_completion)
    return parser


def _with_command(parser: argparse.ArgumentParser, entry: Command) -> argparse.ArgumentParser:
    entry.flags(parser)
    _shared_flags(parser)
    parser.set_defaults(run=entry.run)
    return parser


def _completion(args: argparse.Namespace) -> None:
    import shtab  # noqa: PLC0415 (only needed here)

    print(shtab.complete(build_parser(), shell=args.shell))


def _set_level(args: argparse.Namespace) -> None:
    """Log level of the package. Only the first of several processes logs."""
    logging.basicConfig(format="%(message)s", level=logging.WARNING, stream=sys.stdout)
    first = os.environ.get("RANK", os.environ.get("LOCAL_RANK", "0")) == "0"
    level = logging.ERROR if args.quiet or not first else logging.DEBUG if args.verbose else logging.INFO
    logging.getLogger("ligandsmith").setLevel(level)


class _LastingStream:
    """Standard output or error, which outlives its reader and its disk: what cannot be written is dropped, once and for
    all, so that it costs no results."""

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream
        self.error: OSError | None = None

    def write(self, text: str) -> int:
        try:
            return self.stream.write(text)
        except OSError as error:
            self._drop(error)
            return len(text)

    def flush(self) -> None:
        try:
            self.stream.flush()
        except OSError as error:
            self._drop(error)

    def _drop(self, error: OSError) -> None:
        self.error = self.error or error
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, self.stream.fileno())
        os.close(nowhere)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)


@contextmanager
def _lasting_streams() -> Iterator[None]:
    """Within the block, standard streams do not fail. Raises SystemExit after it if output was lost that somebody
    wanted: on a full disk, but not where the reader of a pipe went away (`| head -1`)."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:  # closed (`>&-`): else the next file that is opened would be taken for it
            os.open(os.devnull, os.O_RDWR)
    before = sys.stdout, sys.stderr
    real = [
        stream is None or stream is own for stream, own in zip(before, (sys.__stdout__, sys.__stderr__), strict=True)
    ]
    lasting = [_LastingStream(stream or open(os.devnull, "w", encoding="utf-8")) for stream in before]  # noqa: SIM115
    sys.stdout, sys.stderr = (new if wrap else old for new, old, wrap in zip(lasting, before, real, strict=True))  # type: ignore[assignment]
    try:
        yield
    finally:
        for stream in lasting:
            stream.flush()
        sys.stdout, sys.stderr = before
        lost = lasting[0].error
        if lost is not None and lost.errno != errno.EPIPE:
            print(f"error: standard output: {lost.strerror}", file=sys.stderr)
            raise SystemExit(FAILED)


def main(argv: Sequence[str] | None = None, command: str | None = None) -> int:
    """Run a command; `command` names the one that a script stands for. Returns the exit status."""
    with _lasting_streams():
        args = build_parser(command).parse_args(list(sys.argv[1:] if argv is None else argv))
        _set_level(args)
        clear_temporary_folders()
        try:
            return _status(args)
        finally:
            clear_temporary_folders()  # of workers that were ended


def _status(args: argparse.Namespace) -> int:
    try:
        with file_limit(args.max_file_size):
            args.run(args)
    except LigandsmithError as error:
        print(f"error: {error}", file=sys.stderr)
        return FAILED
    except argparse.ArgumentTypeError as error:
        print(f"error: {error}", file=sys.stderr)
        return USAGE
    except OSError as error:
        print(f"error: {error.filename or 'file system'}: {error.strerror or error}", file=sys.stderr)
        return FAILED
    except MemoryError as error:
        print(f"error: not enough memory{f': {error}' if str(error) else ''}; give less at a time", file=sys.stderr)
        return FAILED
    except KeyboardInterrupt as error:
        print(str(error) or "interrupted", file=sys.stderr)
        return INTERRUPTED
    return OK


if __name__ == "__main__":
    sys.exit(main())
