"""Peak memory of a run of many molecules: everything but the networks is the code of `generate --manifest`.

The molecules are random chains, cheap to make; they go through the same chunks, duplicates and merging as others. Run
it with two numbers of molecules and compare `peak_mib`.
"""

import argparse
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rdkit import Chem

from benchmarks.measure import report
from ligandsmith.generation.batch.merge import MergeOptions
from ligandsmith.generation.batch.run import BatchRequest, generate_batch
from ligandsmith.generation.generator import LigandGenerator, load
from ligandsmith.options import GenerationOptions
from ligandsmith.records import GeneratedLigand

SITE = Path(__file__).resolve().parents[1] / "examples/complexes/7sza"
ATOMS = 23


def chains(
    self: LigandGenerator, pocket: Any, options: GenerationOptions, start: int = 0, keeping: Any = None
) -> Iterator[Any]:
    """Chains of C, N and O at random coordinates, one in ten of which repeats an earlier one."""
    for index in range(start, options.num):
        rng = np.random.default_rng(index if index % 10 else index // 2)
        mol = Chem.MolFromSmiles("C" + "".join(rng.choice(["C", "N", "O"], ATOMS - 1)))
        conformer = Chem.Conformer(ATOMS)
        conformer.Set3D(True)
        conformer.SetPositions(rng.normal(size=(ATOMS, 3)) * 5)
        mol.AddConformer(conformer)
        yield [GeneratedLigand(index, ATOMS, mol, True, False, True)]


def peak_mib() -> float:
    """Largest resident set of this process since it was started, MiB."""
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return int(next(line for line in lines if line.startswith("VmHWM")).split()[1]) / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--num", type=int, default=10_000, help="molecules (%(default)s)")
    parser.add_argument("--chunk", type=int, default=100)
    args = parser.parse_args()
    torch.set_num_threads(1)
    generator = load("tiny")
    LigandGenerator.batches = chains  # type: ignore[method-assign]
    with tempfile.TemporaryDirectory() as folder:
        manifest, out = Path(folder) / "pockets.csv", Path(folder) / "run"
        manifest.write_text(f"pocket,protein,ligand\na,{SITE / 'protein.pdb.gz'},{SITE / 'ligand.sdf'}\n")
        request = BatchRequest(
            GenerationOptions(num=args.num), "tiny", chunk=args.chunk, merge=MergeOptions(unique=True, stop_below=0.01)
        )
        before, began = peak_mib(), time.perf_counter()
        totals = generate_batch(manifest, out, request, generator)["totals"]
        seconds, size = time.perf_counter() - began, (out / "a" / "ligands.sdf").stat().st_size / 2**20
        report(
            num=args.num, molecules=totals["molecules"], failures=totals["failures"], sdf_mib=size,
            before_mib=before, peak_mib=peak_mib(), seconds=seconds,
        )  # fmt: skip


if __name__ == "__main__":
    main()
