"""Draw the three pictures of docs/concepts/latent-diffusion.md with the weights `small` and the complex 7OFF.

`python scripts/draw_concepts.py` writes docs/figures/concept_*.svg; about three minutes on one core.
"""

import argparse
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import torch
from torch import Tensor

from ligandsmith.batches import collate_ligands
from ligandsmith.chem.graph import MolecularGraph
from ligandsmith.chem.plausibility import PLAUSIBLE
from ligandsmith.diffusion.guidance import GuidedDenoiser
from ligandsmith.generation.generator import LigandGenerator, load
from ligandsmith.generation.sampler import LigandSampler, decoded_ligand
from ligandsmith.options import GenerationOptions
from ligandsmith.records import Ligand, Pocket
from ligandsmith.structure.ligands import ligand_from_mol, read_ligand
from ligandsmith.structure.pocket import read_pocket

matplotlib.use("svg")
import matplotlib.pyplot as plt

ROOT = Path(__file__).resolve().parents[1]
COMPLEX = ROOT / "examples" / "complexes" / "7off"
COLORS = {6: "#37474f", 7: "#1e63d0", 8: "#d32f2f", 16: "#b58900", 9: "#2e9e4f", 17: "#2e9e4f"}
INK, PALE, ACCENT = "#263238", "#cfd8dc", "#00796b"
HALF = 9.5  # Å, half of the width of a picture of the pocket
SLICE = 3.0  # Å, pocket atoms within this distance of the plane are drawn
TIMES = (1.0, 0.75, 0.5, 0.3, 0.15, 0.0)


def plane(x: np.ndarray) -> np.ndarray:
    """The two axes [3, 2] along which points spread most."""
    return np.linalg.svd(x - x.mean(0), full_matrices=False)[2][:2].T


def draw(ax: Any, x: np.ndarray, element: np.ndarray, bonds: Any, alpha: float = 1.0) -> None:
    """Atoms x [N, 2] and bonds [E, 2] of a molecule."""
    for i, j in bonds:
        ax.plot(*x[[int(i), int(j)]].T, color=INK, lw=1.6, alpha=alpha, zorder=2)
    ax.scatter(*x.T, s=34, c=[COLORS.get(int(z), "#8e24aa") for z in element], alpha=alpha, zorder=3, lw=0)


def frame(ax: Any, title: str, limit: float) -> None:
    ax.set(xlim=(-limit, limit), ylim=(-limit, limit), aspect="equal", xticks=[], yticks=[])
    ax.set_title(title, fontsize=9, color=INK)
    for side in ax.spines.values():
        side.set_color(PALE)


def autoencoder(generator: LigandGenerator, ligand: Ligand, path: Path) -> str:
    """A ligand, its latents, and the ligand decoded from them. Returns what was recovered."""
    centered = replace(ligand, x=(ligand.x - ligand.x.mean(0)).astype(np.float32))
    batch = collate_ligands([centered], generator.vocabulary, ligand.num_atoms)
    vae: Any = generator.vaes["ligand"]
    with torch.inference_mode():
        posterior = vae.encode(batch)
        noise = vae.config.sigma_x * torch.randn(batch.x.shape, generator=torch.Generator().manual_seed(0))
        prediction = vae.decode(batch.x + noise, posterior.mean_h, batch.mask)
    decoded = decoded_ligand(prediction, 0, ligand.num_atoms, generator.vocabulary, np.zeros(3, dtype=np.float32))
    graph = MolecularGraph.from_decoded(decoded)
    axes = plane(centered.x)
    limit = np.abs(centered.x @ axes).max() + 1
    figure, (left, middle, right) = plt.subplots(1, 3, figsize=(10, 3.6), width_ratios=[1, 0.85, 1])
    draw(left, centered.x @ axes, ligand.element, ligand.bond_index)
    frame(left, "ligand: elements, charges, hydrogens, bonds", limit)
    values = np.concatenate([centered.x / centered.x.std(), posterior.mean_h[0].numpy()], axis=1)
    middle.imshow(values, cmap="BrBG", vmin=-2.5, vmax=2.5, aspect="auto", interpolation="nearest")
    middle.set_title("latents: one row per atom", fontsize=9, color=INK)
    width = values.shape[1]
    middle.set_xticks([1, 3 + (width - 4) / 2], ["x, y, z", f"{width - 3} features"], fontsize=8)
    middle.axvline(2.5, color=INK, lw=1)
    middle.set_ylabel("atom", fontsize=8)
    middle.tick_params(labelsize=8)
    draw(right, decoded.x @ axes, graph.element, graph.bonds())
    frame(right, f"decoded (coordinates noised by {vae.config.sigma_x} Å)", limit)
    figure.tight_layout()
    save(figure, path)
    same = {(int(i), int(j)) for i, j in ligand.bond_index} == {(int(i), int(j)) for i, j in graph.bonds()}
    rmsd = float(np.sqrt(((decoded.x - centered.x) ** 2).sum(1).mean()))
    return f"elements right: {(graph.element == ligand.element).mean():.2f}, same bonds: {same}, RMSD {rmsd:.3f} Å"


@contextmanager
def recorded() -> Iterator[list[tuple[float, Tensor, Tensor]]]:
    """(time, noisy latents, clean estimate) of every call of the guided network within the block."""
    calls: list[tuple[float, Tensor, Tensor]] = []
    plain = GuidedDenoiser.__call__

    def call(self: GuidedDenoiser, z: Tensor, t: float) -> Tensor:
        clean = plain(self, z, t)
        calls.append((t, z.clone(), clean.clone()))
        return clean

    GuidedDenoiser.__call__ = call  # type: ignore[method-assign]
    try:
        yield calls
    finally:
        GuidedDenoiser.__call__ = plain  # type: ignore[method-assign]


def denoising(generator: LigandGenerator, pocket: Pocket, path: Path, seed: int) -> None:
    """Noisy latents (above) and the network's estimate (below) from t = 1 to 0."""
    with recorded() as calls:
        generator.generate(pocket, num=1, seed=seed, num_atoms="27", candidates=1, relax=False)
    scale, stats = float(generator.model.stats.scale_x), generator.model.stats
    mask = torch.ones(1, 27, dtype=torch.bool)
    last = calls[-1][2][0, :, :3].numpy() * scale
    axes, middle = plane(last), last.mean(0)
    centered = pocket.x - generator.encode(pocket)[1] - middle
    depth = np.abs(centered @ np.cross(*axes.T))
    around = centered[depth < SLICE] @ axes
    figure, grid = plt.subplots(2, len(TIMES), figsize=(11, 4.2))
    for column, time in enumerate(TIMES):
        t, z, clean = min(reversed(calls), key=lambda call: abs(call[0] - time))
        if time == 0:
            z = clean
        noisy = (z[0, :, :3].numpy() * scale - middle) @ axes
        above, below = grid[0, column], grid[1, column]
        for ax in (above, below):
            ax.scatter(*around.T, s=6, c=PALE, lw=0, zorder=1)
        above.scatter(*noisy.T, s=26, c=ACCENT, lw=0, zorder=3)
        with torch.inference_mode():
            prediction = generator.vaes["ligand"].decode(*stats.restore(clean), mask)  # type: ignore[operator]
        decoded = decoded_ligand(prediction, 0, 27, generator.vocabulary, np.zeros(3, dtype=np.float32))
        graph = MolecularGraph.from_decoded(decoded)
        draw(below, (decoded.x - middle) @ axes, graph.element, graph.bonds())
        frame(above, f"t = {t if time else 0:.2f}", HALF)
        frame(below, "", HALF)
    grid[0, 0].set_ylabel("noisy latents", fontsize=9, color=INK)
    grid[1, 0].set_ylabel("estimate, decoded", fontsize=9, color=INK)
    figure.tight_layout(h_pad=0.3, w_pad=0.3)
    save(figure, path)


def selection(generator: LigandGenerator, pocket: Pocket, path: Path, num: int) -> str:
    """Plausibility score of every candidate of some ligands, one ligand after the other."""
    rounds: list[list[float]] = []
    plain = LigandSampler.sample

    def sample(self: LigandSampler, task: Any, sizes: Tensor, seeds: Tensor, starts: Any) -> Any:
        candidates = plain(self, task, sizes, seeds, starts)
        rounds[-1].append(min(float(candidates[0].defects.score), 50.0))
        return candidates

    LigandSampler.sample = sample  # type: ignore[method-assign]
    try:
        for index in range(num):
            rounds.append([])
            list(generator.batches(pocket, GenerationOptions(num=index + 1, seed=0), start=index))
    finally:
        LigandSampler.sample = plain  # type: ignore[method-assign]
    order = sorted(rounds, key=len)
    figure, ax = plt.subplots(figsize=(9, 3.4))
    ax.axhspan(0.2, PLAUSIBLE, color=ACCENT, alpha=0.12, lw=0)
    for place, scores in enumerate(order):
        xs = place + (np.arange(len(scores)) - (len(scores) - 1) / 2) * 0.09
        ax.plot(xs, scores, color=PALE, lw=1.2, zorder=1)
        ax.scatter(xs, scores, s=20, c="#90a4ae", lw=0, zorder=2)
        best = int(np.argmin(scores))
        ax.scatter(xs[best], scores[best], s=42, c=ACCENT, lw=0, zorder=3)
    ax.set(yscale="log", ylim=(0.2, 60), xticks=range(num), xlabel="ligand", ylabel="plausibility score")
    ax.set_xticklabels(range(1, num + 1))
    ax.set_yticks([0.3, 1, 3, 10, 30], ["0.3", "1", "3", "10", "30"])
    for side in ("top", "right"):
        ax.spines[side].set_visible(False)
    figure.tight_layout()
    save(figure, path)
    found = sum(min(scores) <= PLAUSIBLE for scores in rounds)
    first = sum(scores[0] <= PLAUSIBLE for scores in rounds)
    return f"{num} ligands, {sum(map(len, rounds))} candidates; without defects: {found}, after the first: {first}"


def save(figure: Any, path: Path) -> None:
    figure.savefig(path, facecolor="white", metadata={"Date": None})
    plt.close(figure)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "figures", help="folder (%(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="seed of the denoised ligand (%(default)s)")
    args = parser.parse_args()
    plt.rcParams |= {"svg.hashsalt": "ligandsmith", "svg.fonttype": "path", "font.size": 9}
    generator = load("small")
    pocket, _ = read_pocket(COMPLEX / "protein.pdb.gz", COMPLEX / "ligand.sdf")
    mol = read_ligand(COMPLEX / "ligand.sdf")
    ligand = ligand_from_mol(mol, "7off")
    assert isinstance(ligand, Ligand)
    print(autoencoder(generator, ligand, args.out / "concept_latents.svg"))
    denoising(generator, pocket, args.out / "concept_denoising.svg", args.seed)
    print(selection(generator, pocket, args.out / "concept_selection.svg", 12))


if __name__ == "__main__":
    main()
