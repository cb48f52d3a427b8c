"""Upper bound on -log p of validation ligands given pocket and size, in nats, by a checkpoint; prints a JSON line.

`python -m benchmarks likelihood --checkpoint tiny`
A metric beside the training loss, with its four terms; not on the loss's scale. `shuffled` is the same with each ligand
in the pocket of another complex: the difference is what the model has learned about fitting pockets.
"""

import argparse
from dataclasses import replace

import numpy as np
import torch

from benchmarks.measure import report
from benchmarks.nll import ligand_nll
from ligandsmith.batches import collate
from ligandsmith.data.dataset import ComplexDataset
from ligandsmith.data.transforms import to_frame
from ligandsmith.diffusion import rng
from ligandsmith.generation.generator import load
from ligandsmith.records import Complex


def exchanged(records: list[Complex]) -> list[Complex]:
    """Each ligand, where it is in its frame, with the pocket of the next record."""
    return [replace(r, pocket=records[(i + 1) % len(records)].pocket) for i, r in enumerate(records)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoint", default="small")
    parser.add_argument("--batch", type=int, default=9)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    torch.set_num_threads(1)
    generator = load(args.checkpoint)
    generator.model.denoiser.basis.use_table = False
    data = ComplexDataset(None, "validation")
    records = [to_frame(data[i], generator.config.pocket) for i in range(len(data))]
    found: dict[str, list[np.ndarray]] = {}
    for prefix, members in (("", records), ("shuffled ", exchanged(records))):
        for start in range(0, len(members), args.batch):
            part = members[start : start + args.batch]
            keys = rng.make_seeds(args.seed, torch.arange(start, start + len(part)))
            terms = ligand_nll(generator.model, generator.vaes, collate(part, generator.vocabulary), keys)
            for name, value in terms.items():
                found.setdefault(prefix + name, []).append(value.numpy())
    means = {name: float(np.concatenate(values).mean()) for name, values in found.items()}
    report(benchmark="likelihood", checkpoint=args.checkpoint, n=len(records), nats_per_molecule="mean", **means)


if __name__ == "__main__":
    main()
