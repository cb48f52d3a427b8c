"""Score molecules of any method: one row for each requested molecule, a summary with n, failures and intervals.

Imports RDKit, gemmi and NumPy, never torch.
"""

import logging
import time
from collections.abc import Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from rdkit import rdBase

from ligandsmith.chem.protein import load_protein
from ligandsmith.errors import LigandsmithError
from ligandsmith.evaluation.input import EvaluationInput, KnownMolecules, NotRun, Sample
from ligandsmith.evaluation.metrics import METRICS
from ligandsmith.evaluation.protocols import NO_TOOLS, Protocol
from ligandsmith.evaluation.sources import (
    PathLike,
    Source,
    file_name,
    find_sources,
    generation_log,
    load_known,
    load_reference,
    removed_from_site,
)
from ligandsmith.evaluation.statistics import Value
from ligandsmith.evaluation.summary import Evaluation, Scored, rows_of, summarise
from ligandsmith.evaluation.tools.runner import Answer, Site, run_tool
from ligandsmith.evaluation.tools.toolbox import make_tools
from ligandsmith.parallel.engines import ENGINES

log = logging.getLogger("ligandsmith")


@dataclass(frozen=True)
class EvaluationOptions:
    """How to evaluate. `folder` keeps the answers of slow tools, so that an interrupted evaluation continues.

    With `engine` "ray", tasks of a cluster compute them, one pocket at a time each, in a folder for each pocket.
    """

    protocol: Protocol = NO_TOOLS
    known: KnownMolecules | None = None
    folder: Path | None = None
    workers: int = 1
    command: str = ""
    engine: str = "local"
    smiles: str = ""  # of the reference, and of molecules in files without bond orders; a manifest's column counts more
    allow_dropped: bool = False  # see `read_protein`

    def of_pocket(self, pocket: str) -> "EvaluationOptions":
        """Tasks on different machines cannot append to one file."""
        if self.engine == "local" or self.folder is None:
            return self
        return replace(self, folder=self.folder.resolve() / file_name(pocket))


def evaluate(
    place: PathLike,
    protein: PathLike | None = None,
    reference: PathLike | None = None,
    requested: int | None = None,
    novelty: PathLike | Iterable[str] | None = None,
    options: EvaluationOptions | None = None,
) -> Evaluation:
    """Score the molecules of `place` with every metric of METRICS; without a protocol, those that need no slow tool.

    `place` is an SDF, a folder, a manifest or a result file (see `sources.find_sources`). Failures listed in a
    `samples.json` beside `ligands.sdf` are rows with their reason; molecules of `requested` that neither file accounts
    for are rows 'not generated'. `reference` is scored too, and its copy in the protein file is left out.
    `novelty`: known molecules as SMILES or InChIKeys, one a line in a file, or as strings. What cannot be computed is
    'not run' with the cause, never 0. Raises LigandsmithError for input that cannot be used.
    """
    options = options or EvaluationOptions()
    if novelty is not None:
        options = replace(options, known=load_known(novelty))
    return evaluate_sources(find_sources(place, protein, reference, requested), options)


def evaluate_sources(sources: Sequence[Source], options: EvaluationOptions) -> Evaluation:
    """As `evaluate`, of molecules that were found already."""
    began = time.perf_counter()
    sources = [replace(source, smiles=source.smiles or options.smiles) for source in sources]
    if options.engine != "local":
        _answer_on_cluster(sources, options)
    scored = [_score_source(source, options.of_pocket(source.pocket)) for source in sources]
    summary = summarise(scored, options.protocol)
    summary |= {"command": options.command, "seconds": round(time.perf_counter() - began, 1)}
    return Evaluation(rows_of(scored), summary, tuple(scored))


def _answer_pocket(options: EvaluationOptions, source: Source) -> None:
    """Work of a cluster: leaves the slow answers of a pocket in its folder, where the evaluation finds them."""
    _score_source(source, options.of_pocket(source.pocket))


def _answer_on_cluster(sources: Sequence[Source], options: EvaluationOptions) -> None:
    """A pocket whose task fails is logged, and computed here afterwards."""
    if options.folder is None:
        raise LigandsmithError(f"engine {options.engine}: name a folder for the answers")
    work = partial(_answer_pocket, replace(options, workers=1, known=None))
    pockets = (source.absolute() for source in sources)
    with closing(ENGINES[options.engine](work, pockets, options.workers)) as results:
        for source, reason in results:
            if reason:
                log.warning("%s: %s; its answers are computed here", source.pocket, reason)


def site_of(source: Source, samples: Sequence[Sample], allow_dropped: bool = False) -> Site:
    """Where the molecules of a source are judged. Raises LigandsmithError for files that cannot be used."""
    bound = None if source.reference is None else load_reference(source.reference, source.smiles)
    made = [sample.mol for sample in samples]
    removed = removed_from_site(source.ligands)
    target = None
    if source.protein is not None:
        target = load_protein(source.protein, bound, removed, made, allow_dropped)
    return Site(source.pocket, target, bound)


def _score_source(source: Source, options: EvaluationOptions) -> Scored:
    samples = source.samples()
    site = site_of(source, samples, options.allow_dropped)
    bound = site.reference
    mols = [sample.mol for sample in samples] + ([bound] if bound is not None else [])
    answers: dict[str, Sequence[Answer | None] | str] = {}
    own: dict[str, Answer | None] = {}
    for tool in make_tools(options.protocol.tools, options.folder):
        found = run_tool(tool, site, mols, options.folder, options.workers)
        answers[tool.name] = found if isinstance(found, str) else found[: len(samples)]
        if bound is not None:
            own[tool.name] = found if isinstance(found, str) else found[-1]
    log = generation_log(source.ligands) if source.mols is None else {}
    done = log.get("done") or log.get("requested") or 0
    seconds = log["seconds"] / done if done and "seconds" in log else None
    data = EvaluationInput(tuple(samples), site, options.known, answers, own, seconds)
    columns, status = _columns(data)
    return Scored(source, data, columns, status, _reference_values(data), log.get("identity", {}))


def _columns(data: EvaluationInput) -> tuple[dict[str, list[Value]], dict[str, str]]:
    """Values of every metric by sample, and 'ok' or why it was not run."""
    columns: dict[str, list[Value]] = {}
    status: dict[str, str] = {}
    with rdBase.BlockLogs():
        for metric in METRICS.values():
            try:
                columns[metric.name], status[metric.name] = metric.values(data), "ok"
            except NotRun as cause:
                columns[metric.name], status[metric.name] = [None] * len(data.samples), f"not run: {cause}"
    return columns, status


def _reference_values(data: EvaluationInput) -> dict[str, Value]:
    """Every metric of the reference ligand itself."""
    reference = data.site.reference
    if reference is None:
        return {}
    answers = {tool: [answer] for tool, answer in data.reference_answers.items() if not isinstance(answer, str)}
    own = replace(data, samples=(Sample(0, reference),), answers=answers, seconds=None)
    return {name: values[0] for name, values in _columns(own)[0].items()}
