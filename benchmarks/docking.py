"""CPU seconds of Vina on an example complex: receptor, maps, score and minimisation, docking; prints a JSON line.

`python -m benchmarks docking --complex 3ln1 --exhaustiveness 8`
"""

import argparse
from pathlib import Path

from benchmarks.measure import peak_gib, repeat, report
from ligandsmith.chem.protein import load_protein
from ligandsmith.chem.receptor import receptor_pdbqt
from ligandsmith.chem.sdf import read_sdf
from ligandsmith.evaluation.tools.runner import Site
from ligandsmith.evaluation.tools.vina import VinaTool

COMPLEXES = Path(__file__).parents[1] / "examples/complexes"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--complex", default="3ln1", choices=["3ln1", "7off", "7sza"])
    parser.add_argument("--exhaustiveness", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=3)
    args = parser.parse_args()
    folder = COMPLEXES / args.complex
    mol = read_sdf(folder / "ligand.sdf")[0].mol
    if mol is None:
        raise SystemExit(f"no ligand in {folder}")
    protein = load_protein(folder / "protein.pdb.gz", mol)
    site = Site(args.complex, protein, mol)
    local, dock = VinaTool(), VinaTool(modes=("dock",), exhaustiveness=args.exhaustiveness)
    receptor, _ = repeat(lambda: receptor_pdbqt(protein), args.repeats)
    opening, _ = repeat(lambda: local.open(site), args.repeats)
    answer, search = local.open(site), dock.open(site)
    poses, _ = repeat(lambda: answer(mol), args.repeats)
    docking, _ = repeat(lambda: search(mol), 1, warmup=0)
    report(
        complex=args.complex, protein_atoms=len(protein.x), ligand_atoms=mol.GetNumAtoms(), receptor_cpu_s=receptor,
        maps_cpu_s=opening - receptor, score_minimise_cpu_s=poses, exhaustiveness=args.exhaustiveness,
        dock_cpu_s=docking, peak_gib=peak_gib(),
    )  # fmt: skip


if __name__ == "__main__":
    main()
