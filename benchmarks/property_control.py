"""How closely ligands follow requested QED, SA and logP: slope, interval and means of the obtained values.

`python -m benchmarks property_control --pockets 10 --num 4 --out /tmp/control`
Pockets are spread evenly over those of the validation split whose ligand has 14 to 20 heavy atoms, and ligands have the
size of that one. Each value is asked for in each pocket with the same noise. Results are kept in OUT, where an
interrupted run goes on. The interval of the slope is a bootstrap over pockets: ligands of one pocket are not
independent.
"""

import argparse
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from rdkit import Chem

from benchmarks.measure import report, validation_complexes
from benchmarks.performance_page import table
from ligandsmith.chem.plausibility import PLAUSIBLE, PocketAtoms, find_defects
from ligandsmith.chem.sdf import write_sdf
from ligandsmith.config import override
from ligandsmith.evaluation.evaluate import EvaluationOptions, evaluate
from ligandsmith.evaluation.protocols import adapted
from ligandsmith.generation.generator import LigandGenerator, load
from ligandsmith.records import PROPERTIES, GeneratedLigand, Pocket
from ligandsmith.structure.ligands import ligand_properties
from ligandsmith.structure.pocket import mark_pocket

ROWS = "rows.jsonl"
VALUES = {  # about the 10th, 30th, 50th, 70th and 90th percentile of the training ligands
    "qed": (0.2, 0.35, 0.5, 0.65, 0.8), "sa": (0.6, 0.67, 0.74, 0.81, 0.88), "logp": (-1.0, 1.0, 2.5, 4.0, 5.5),
}  # fmt: skip
SIZES = (14, 20)  # heavy atoms: molecules that can have any of the values and are made fast
NOTHING = "none"  # asked for no property, for comparison
RESAMPLES = 4000


def tasks(properties: list[str]) -> Iterator[tuple[str, float | None]]:
    """Property and asked value, first nothing at all."""
    yield NOTHING, None
    for name in properties:
        yield from ((name, value) for value in VALUES[name])


def described(ligand: GeneratedLigand, site: PocketAtoms) -> dict[str, Any]:
    """What is kept of a ligand."""
    kept: dict[str, Any] = {
        "index": ligand.index, "candidates": ligand.candidates, "raw_valid": ligand.raw_valid,
        "connected": ligand.connected, "score": find_defects(ligand, site).score,
    }  # fmt: skip
    if ligand.mol is not None:
        made = ligand_properties(ligand.mol)
        kept |= {"mol": Chem.MolToMolBlock(ligand.mol), **dict(zip(PROPERTIES, made.tolist(), strict=True))}
    return kept


def chosen_pockets(generator: LigandGenerator, count: int) -> Iterator[tuple[str, Pocket, int]]:
    """Pockets of the validation split with their names and the numbers of heavy atoms of their ligands."""
    for record in validation_complexes(count, SIZES):
        assert record.pocket is not None
        pocket = mark_pocket(record.pocket, record.ligand.x, generator.config.pocket)
        yield record.id, pocket, record.ligand.num_atoms


def make(generator: LigandGenerator, args: argparse.Namespace) -> list[dict[str, Any]]:
    """One row for each pocket and asked value; those in the file already are not made again."""
    path = args.out / ROWS
    rows = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
    done = {(row["pocket"], row["property"], row["asked"]) for row in rows}
    for name, pocket, size in chosen_pockets(generator, args.pockets):
        site = PocketAtoms.of(pocket.x, pocket.element)
        for wanted, asked in tasks(args.properties):
            if (name, wanted, asked) in done:
                continue
            options = {} if asked is None else {wanted: asked}
            ligands = generator.generate(pocket, args.num, args.seed, num_atoms=str(size), **options)
            rows.append({"pocket": name, "property": wanted, "asked": asked,
                         "ligands": [described(ligand, site) for ligand in ligands]})  # fmt: skip
            with path.open("a") as file:
                file.write(json.dumps(rows[-1]) + "\n")
    return rows


def slope(asked: NDArray[np.float64], made: NDArray[np.float64]) -> float:
    """Of the least-squares line."""
    return float(np.polyfit(asked, made, 1)[0])


def response(rows: list[dict[str, Any]], name: str, seed: int) -> dict[str, Any]:
    """Slope of made against asked values with its 95 % interval, r, and n and mean for each asked value."""
    pairs: dict[str, list[tuple[float, float]]] = {}  # asked and made, of each pocket
    for row in rows:
        if row["property"] == name:
            made_here = [(row["asked"], ligand[name]) for ligand in row["ligands"] if name in ligand]
            pairs.setdefault(row["pocket"], []).extend(made_here)
    groups = [np.array(pair) for pair in pairs.values() if pair]
    asked, made = np.concatenate(groups).T
    rng = np.random.default_rng(seed)
    resampled = [slope(*np.concatenate([groups[i] for i in rng.integers(0, len(groups), len(groups))]).T)
                 for _ in range(RESAMPLES)]  # fmt: skip
    low, high = np.quantile(resampled, [0.025, 0.975])
    return {
        "slope": slope(asked, made), "low": float(low), "high": float(high), "r": float(np.corrcoef(asked, made)[0, 1]),
        "error": float(np.abs(asked - made).mean()),
        "means": {f"{value:g}": float(made[asked == value].mean()) for value in VALUES[name]},
        "n": {f"{value:g}": int((asked == value).sum()) for value in VALUES[name]},
    }  # fmt: skip


def soundness(rows: list[dict[str, Any]], name: str, args: argparse.Namespace) -> dict[str, Any]:
    """Shares of all requested ligands that are valid, plausible and pass PoseBusters' checks of the molecule alone."""
    ligands = [ligand for row in rows if row["property"] == name for ligand in row["ligands"]]
    built = [ligand for ligand in ligands if "mol" in ligand]
    path = args.out / f"{name}.sdf"
    write_sdf(path, [(Chem.MolFromMolBlock(ligand["mol"]), {"index": i}) for i, ligand in enumerate(built)])
    metrics: dict[str, Any] = {}
    if args.posebusters:
        evaluation = evaluate(path, options=EvaluationOptions(adapted("quick", ["posebusters", "strain"])))
        metrics = evaluation.summary["metrics"]
    return {
        "requested": len(ligands),
        "raw_valid_connected": float(np.mean([a["raw_valid"] and a["connected"] for a in ligands])),
        "valid_connected": float(np.mean([a["connected"] for a in ligands])),
        "plausible": float(np.mean([a["score"] <= PLAUSIBLE for a in ligands])),
        "candidates": float(np.mean([a["candidates"] for a in ligands])),
        "posebusters": metrics and metrics["pb_valid"]["mean"] * len(built) / len(ligands),
        "strain": metrics and metrics["strain_uff"]["median"],
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoint", default="small")
    parser.add_argument("--pockets", type=int, default=10)
    parser.add_argument("--num", type=int, default=4, help="ligands per pocket and value")
    parser.add_argument("--properties", nargs="+", choices=list(PROPERTIES), default=list(PROPERTIES))
    parser.add_argument("--set", action="append", default=[], metavar="sampling.KEY=VALUE", help="any setting")
    parser.add_argument("--posebusters", action="store_true", help="and strain, by the evaluator")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    torch.set_num_threads(1)
    generator = load(args.checkpoint)
    generator.config = override(generator.config, args.set)
    args.out.mkdir(parents=True, exist_ok=True)
    rows = make(generator, args)
    found = {name: response(rows, name, args.seed) for name in args.properties}
    sound = {name: soundness(rows, name, args) for name in (NOTHING, *args.properties)}
    for name, values in found.items():
        cells = [[value, f"{mean:.2f}", str(values["n"][value])] for value, mean in values["means"].items()]
        interval = f"{values['low']:.2f} to {values['high']:.2f}"
        print(f"\n{name}: slope {values['slope']:.2f} ({interval}), r {values['r']:.2f}\n")
        print(table(["asked", "made", "n"], cells), flush=True)
    report(benchmark="property_control", checkpoint=args.checkpoint, pockets=args.pockets, num=args.num, set=args.set,
           response=found, soundness=sound)  # fmt: skip


if __name__ == "__main__":
    main()
