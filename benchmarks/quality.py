"""Quality of a checkpoint on pockets of the validation split; prints the funnel, the evaluator's table and a JSON line.

`python -m benchmarks quality --checkpoint tiny --pockets 20 --num 5 --out /tmp/quality`
Sizes are those of the reference ligands unless --model_sizes is given. Without --posebusters its checks are not run;
with it, the checks of the molecule alone are (the data set holds pockets, not whole proteins).
"""

import argparse
import json
import time
from pathlib import Path

import numpy as np
import torch
from rdkit import Chem

from benchmarks.measure import cpu_seconds, report
from ligandsmith.chem.plausibility import PLAUSIBLE, PocketAtoms, find_defects
from ligandsmith.chem.sdf import write_sdf
from ligandsmith.config import override
from ligandsmith.data.dataset import ComplexDataset
from ligandsmith.evaluation.evaluate import EvaluationOptions, evaluate
from ligandsmith.evaluation.output import summary_table
from ligandsmith.evaluation.protocols import adapted
from ligandsmith.generation.generator import load
from ligandsmith.structure.pocket import mark_pocket, nearest_distance

SETTINGS = (
    "steps", "cfg_scale", "cfg_scale_x", "autoguidance", "churn", "noise_scale", "noise_scale_h", "sampler",
    "candidates", "repulsion", "qed", "sa", "logp",
)  # fmt: skip
MEANS = ("qed", "sa_normalised", "small_ring_share", "fused_rings", "diversity", "unique", "strain_uff")
CLASH = 2.5  # Å between heavy atoms of ligand and pocket; crystal ligands of the set come closer in 2 % of the cases


def composition(mols: list[Chem.Mol]) -> dict[str, float]:
    """Share of carbon among the heavy atoms, and of six-membered rings among the rings: 0.68 and 0.76 in the reference
    ligands of the first 12 pockets."""
    rings = [len(ring) for mol in mols for ring in mol.GetRingInfo().AtomRings()]
    elements = [atom.GetAtomicNum() for mol in mols for atom in mol.GetAtoms()]
    return {"carbon": elements.count(6) / max(len(elements), 1), "six_rings": rings.count(6) / max(len(rings), 1)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoint", default="small")
    parser.add_argument("--pockets", type=int, default=20)
    parser.add_argument("--num", type=int, default=5, help="ligands per pocket")
    parser.add_argument("--max_atoms", type=int, default=60, help="only references up to this size")
    parser.add_argument("--model_sizes", action="store_true")
    for name in SETTINGS:
        parser.add_argument(f"--{name}", type={"steps": int, "candidates": int, "sampler": str}.get(name, float))
    parser.add_argument("--set", action="append", default=[], metavar="sampling.KEY=VALUE", help="any other setting")
    parser.add_argument("--posebusters", action="store_true")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    data = ComplexDataset(None, "validation")
    fitting = np.flatnonzero(data.sizes()[0] <= args.max_atoms)
    chosen = fitting[np.linspace(0, len(fitting) - 1, args.pockets).astype(int)]
    generator = load(args.checkpoint)
    generator.config = override(generator.config, args.set)
    options = {n: getattr(args, n) for n in SETTINGS}
    args.out.mkdir(parents=True, exist_ok=True)
    made, failures, gaps, offsets, scores = [], [], [], [], []
    began, began_cpu = time.perf_counter(), cpu_seconds()
    for number, i in enumerate(chosen):
        record = data[int(i)]
        assert record.pocket is not None
        pocket = mark_pocket(record.pocket, record.ligand.x, generator.config.pocket)
        size = None if args.model_sizes else str(record.ligand.num_atoms)
        site = PocketAtoms.of(pocket.x, pocket.element)
        for ligand in generator.generate(pocket, args.num, args.seed, num_atoms=size, **options):
            scores.append(find_defects(ligand, site).score)
            index = number * args.num + ligand.index
            if ligand.mol is None:
                failures.append({"index": index, "reason": ligand.reason, "detail": ligand.detail})
                continue
            x = ligand.mol.GetConformer().GetPositions().astype(np.float32)
            gaps.append(float(nearest_distance(x, record.pocket.x).min()))
            offsets.append(float(np.linalg.norm(x.mean(0) - record.ligand.x.mean(0))))
            made.append((ligand.mol, {"index": index, "pocket": record.id, "raw_valid": ligand.raw_valid,
                                      "repaired": ligand.repaired, "connected": ligand.connected,
                                      "candidates": ligand.candidates}))  # fmt: skip
    core_s, wall_s = cpu_seconds() - began_cpu, time.perf_counter() - began
    requested = len(chosen) * args.num
    write_sdf(args.out / "ligands.sdf", made)
    (args.out / "samples.json").write_text(json.dumps({"requested": requested, "failures": failures}))
    protocol = adapted("quick", ["posebusters", "strain"] if args.posebusters else ["strain"])
    evaluation = evaluate(args.out / "ligands.sdf", options=EvaluationOptions(protocol))
    print(summary_table(evaluation))
    metrics = evaluation.summary["metrics"]
    flags = [properties for _, properties in made]
    sampled = sum(p["candidates"] for p in flags)
    report(
        benchmark="quality", checkpoint=args.checkpoint, pockets=len(chosen), requested=requested,
        raw_valid=sum(bool(p["raw_valid"]) for p in flags) / requested, built=len(made) / requested,
        raw_valid_connected=sum(bool(p["raw_valid"] and p["connected"]) for p in flags) / requested,
        valid_connected=sum(bool(p["connected"]) for p in flags) / requested,
        **{name: metrics[name]["median" if name == "strain_uff" else "mean"] for name in MEANS},
        **composition([mol for mol, _ in made]),
        plausible=float((np.array(scores) <= PLAUSIBLE).mean()), median_score=float(np.median(scores)),
        candidates_per_ligand=sampled / max(len(flags), 1),
        no_clash=float(np.mean([g > CLASH for g in gaps])), centre_offset=float(np.median(offsets)),
        core_s_per_100=core_s * 100 / requested, wall_s=wall_s,
    )  # fmt: skip


if __name__ == "__main__":
    main()
