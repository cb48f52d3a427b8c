"""Ligands for a batch of pockets, by workers, continued where an earlier run ended."""

import logging
from collections.abc import Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from ligandsmith.config import SITE_RADIUS
from ligandsmith.errors import LigandsmithError
from ligandsmith.files import held_alone, remove_all, write_json
from ligandsmith.generation.batch.manifest import OptionColumns, PocketRow, read_manifest
from ligandsmith.generation.batch.merge import MergeOptions
from ligandsmith.generation.batch.progress import POCKET_FILES, PocketProgress
from ligandsmith.generation.batch.results import FAILURES_FILE, MANIFEST_FILE, RUN_FILE, read_run, write_results
from ligandsmith.generation.batch.tasks import TaskRunner
from ligandsmith.generation.generator import LigandGenerator, load, size_range
from ligandsmith.generation.output import identity_of, refuse_other_samples
from ligandsmith.options import GenerationOptions
from ligandsmith.parallel.engines import ENGINES
from ligandsmith.parallel.signals import handled_signals

log = logging.getLogger("ligandsmith")


@dataclass(frozen=True)
class BatchRequest:
    """How to make ligands for many pockets. `radius` in Å is for rows with a centre and no radius of their own."""

    options: GenerationOptions
    checkpoint: str
    device: str = "cpu"
    threads: int = 1  # of each worker
    workers: int = 1
    engine: str = "local"
    chunk: int = 100
    merge: MergeOptions = field(default_factory=MergeOptions)
    radius: float = SITE_RADIUS
    command: str = ""
    allow_dropped: bool = False  # see `read_protein`
    overwrite: bool = False  # replace the samples of another request
    columns: OptionColumns | None = None  # of the manifest, with which a row has options of its own
    adapter: Path | None = None  # of the checkpoint

    def options_of(self, row: PocketRow) -> GenerationOptions:
        """The options for a row. Raises LigandsmithError for cells that cannot be used."""
        if self.columns is None or not row.asked:
            return self.options
        return self.columns.options(dict(row.asked), row.folder)


def generate_batch(
    manifest: Path, out: Path, request: BatchRequest, generator: LigandGenerator | None = None
) -> dict[str, Any]:
    """Make the ligands of each row of `manifest`, continuing what is in `out`; returns what `generation.json` holds.

    `generator` is the checkpoint of the request where it is loaded already. A row that cannot be used is listed with
    its reason. Raises LigandsmithError for a manifest that cannot be read, for a folder with the samples of another
    request, if another process writes into it, and if no row can be used.
    """
    out = out.resolve()  # a worker may have another current folder
    rows = read_manifest(manifest, request.columns.names if request.columns else ())
    generator = generator or load(request.checkpoint, adapter=request.adapter)
    identity = _run_identity(generator, request)
    if manifest.resolve() in (out / MANIFEST_FILE, out / FAILURES_FILE):
        raise LigandsmithError(f"{manifest}: would be written over; give it another name or choose another --out")
    pockets, bad = _pockets(rows, out, request, generator)
    about = {"identity": identity, "command": request.command, "num": request.options.num}
    with held_alone(out):
        _require_own_folder(out, rows, identity, request.overwrite)
        _run_tasks(out, request, pockets, about)
        summary = write_results(out, rows, bad, pockets, about)
    if not pockets:
        raise LigandsmithError(f"{manifest}: no row can be used; the first: {rows[0].pocket}: {bad[rows[0].pocket]}")
    return summary


def _run_tasks(out: Path, request: BatchRequest, pockets: dict[str, PocketProgress], about: dict[str, Any]) -> None:
    for pocket in pockets.values():
        pocket.open(request.overwrite)
    write_json(out / RUN_FILE, about)
    checkpoint = Path(request.checkpoint)
    absolute = str(checkpoint.resolve()) if checkpoint.exists() else request.checkpoint
    adapter = None if request.adapter is None else str(request.adapter.resolve())
    work = TaskRunner(absolute, request.device, request.threads, request.radius, request.allow_dropped, adapter)
    # Pocket after pocket, so that a worker keeps its pocket as long as it can.
    tasks = (task for pocket in pockets.values() for task in pocket.tasks())
    with handled_signals(_interrupt), closing(ENGINES[request.engine](work, tasks, request.workers)) as results:
        for task, reason in results:
            pockets[task.row.pocket].finished(task, reason)


def _run_identity(generator: LigandGenerator, request: BatchRequest) -> dict[str, Any]:
    """What decides the molecules and is the same for all pockets. Raises LigandsmithError."""
    options = request.options
    size_range(options)  # refused before anything is written
    return {
        "checkpoint": generator.checkpoint_hash,
        "seed": options.seed,
        "num_atoms": options.num_atoms,
        "add_hs": options.add_hs,
        "sampling": asdict(generator.sampling_config(options)),
        "chunk": request.chunk,
    }


def _require_own_folder(out: Path, rows: Sequence[PocketRow], identity: dict[str, Any], overwrite: bool) -> None:
    """Raise LigandsmithError unless `out` is empty of what this run writes, or holds an earlier run of the request.

    With `overwrite`, what another run wrote of the same pockets is removed instead.
    """
    try:
        earlier = read_run(out)
        if earlier is not None:
            refuse_other_samples(out, earlier, identity, RUN_FILE)
            return
        there = [n for n in (MANIFEST_FILE, FAILURES_FILE, *(row.pocket for row in rows)) if (out / n).exists()]
        if there:
            raise LigandsmithError(
                f"{out / there[0]}: is there without a {RUN_FILE}; choose another --out, or --overwrite"
            )
    except LigandsmithError:
        if not overwrite:
            raise
        remove_all([out / row.pocket / name for row in rows for name in POCKET_FILES])
        remove_all([out / name for name in (RUN_FILE, MANIFEST_FILE, FAILURES_FILE)])


def _pockets(
    rows: Sequence[PocketRow], out: Path, request: BatchRequest, generator: LigandGenerator
) -> tuple[dict[str, PocketProgress], dict[str, str]]:
    """The pockets that can be read, and why the others cannot, by name. No pocket stays in memory."""
    pockets, bad = {}, {}
    for row in rows:
        try:
            options = request.options_of(row)
            pocket, report = row.read(request.radius, request.allow_dropped)
            identity = identity_of(generator, options, pocket)
        except LigandsmithError as error:
            bad[row.pocket] = str(error)
        except OSError as error:
            bad[row.pocket] = f"{error.filename or row.protein}: {error.strerror or error}"
        else:
            log.info("%s: %s", row.pocket, report.reading)
            notes = {"command": request.command, **({"row": dict(row.asked)} if row.asked else {}), **report.notes()}
            pockets[row.pocket] = PocketProgress(
                row, out / row.pocket, identity, options, request.chunk, request.merge, notes
            )
    return pockets, bad


def _interrupt(*_: object) -> None:
    """End the run at once, with its workers: finished tasks are whole on disk, others are not."""
    raise KeyboardInterrupt("interrupted; what is finished is kept, the same command continues")
