"""The main job in a few minutes: ligands for a held-out pocket by the shipped weights, relaxed, scored, ranked.

Every step is a command that a user would type; it is printed before it runs. With `--train`, the three networks are
first trained briefly, and the final table compares the trained and the shipped weights.
"""

import argparse
import json
import shutil
import sys
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ligandsmith.cli.main import main as run_command

POCKET = Path("examples/complexes/7off")
SCRIPTS = {"train-vae": "train_vae.py", "train-denoiser": "train_denoiser.py"}
# Optimizer steps, and the minutes after which a slow machine stops short of them.
LIGAND_STEPS, LIGAND_MINUTES = 272, 2.5
PROTEIN_STEPS, PROTEIN_MINUTES = 90, 1.2
DENOISER_STEPS, DENOISER_MINUTES = 240, 2.3


@dataclass(frozen=True)
class Step:
    """One command of the demo and about how long it takes on two cores."""

    title: str
    command: str
    arguments: str
    minutes: float

    def line(self) -> str:
        if self.command in SCRIPTS:
            return f"python {SCRIPTS[self.command]} {self.arguments}"
        return f"ligandsmith {self.command} {self.arguments}"


def training_steps(folder: Path, share: float) -> list[Step]:
    """Ligand VAE, protein VAE, denoiser. `share` scales steps and minutes."""
    common = f"--preset tiny --device cpu --num_workers 0 --run_dir {folder}"

    def limits(steps: int, minutes: float) -> str:
        return f"--max_steps {max(1, round(steps * share))} --max_minutes {max(0.1, minutes * share):g}"

    ligand = f"--model_type ligand --learning_rate 3e-3 --limit 1200 {limits(LIGAND_STEPS, LIGAND_MINUTES)}"
    protein = (
        f"--model_type protein --batch_size 8 --learning_rate 3e-3 --limit 240 {limits(PROTEIN_STEPS, PROTEIN_MINUTES)}"
    )
    denoiser = (
        f"--ligand_vae_path {folder}/best_ligand_vae.pt --protein_vae_path {folder}/best_protein_vae.pt "
        f"--cache_latents --learning_rate 3e-3 --limit 480 {limits(DENOISER_STEPS, DENOISER_MINUTES)}"
    )
    return [
        Step("Train the ligand VAE", "train-vae", f"{ligand} {common}", LIGAND_MINUTES * share),
        Step("Train the protein VAE", "train-vae", f"{protein} {common}", PROTEIN_MINUTES * share),
        Step("Train the denoiser", "train-denoiser", f"{denoiser} {common}", DENOISER_MINUTES * share),
    ]


def sampling_steps(name: str, checkpoint: str, folder: Path, num: int) -> list[Step]:
    """Generate for the held-out pocket, relax, evaluate, rank, and make the report."""
    site = f"--protein {POCKET}/protein.pdb.gz --ligand {POCKET}/ligand.sdf"
    out = folder / name
    made = f"--checkpoint {checkpoint} {site} --num {num} --seed 0 --device cpu --out {out}/made"
    # PoseBusters takes its time limit on the odd molecules that minutes of training make.
    flags = " --no-posebusters" if name == "trained" else ""
    return [
        Step(f"Make {num} ligands with the {name} denoiser", "generate", made, 0.5),
        Step("Relax them in the pocket", "relax", f"{out}/made/ligands.sdf {site} --out {out} --workers 2", 0.2),
        Step("Score them", "evaluate", f"{out}/relaxed.sdf {site} --out {out} --workers 2{flags}", 1.2),
        Step("Rank them", "rank", f"{out} --by vina_min,strain_uff,qed --filters connected --num 10", 0.1),
        Step("Make a page to look at", "report", f"{out}", 0.1),
    ]


def run(steps: list[Step]) -> None:
    """Run the commands one after the other; a failure ends the demo with the command's exit status."""
    for number, step in enumerate(steps, start=1):
        left = sum(s.minutes for s in steps[number - 1 :])
        print(
            f"\n[{number}/{len(steps)}] {step.title} (about {left:.1f} minutes left in all)\n$ {step.line()}",
            flush=True,
        )
        status = run_command([step.command, *step.arguments.split()])
        if status:
            sys.exit(status)


def outcome(folder: Path) -> dict[str, str]:
    """One column of the table: the funnel from requested to connected, the scores, the reasons for the rest."""
    made = json.loads((folder / "samples.json").read_text(encoding="utf-8"))
    molecules: list[dict[str, Any]] = made["molecules"]
    cells = {
        "requested": made["requested"],
        "molecules built (after repair)": len(molecules),
        "valid without repair": sum(m["raw_valid"] for m in molecules),
        "valid and connected": sum(m["connected"] for m in molecules),
        "valid and connected without repair": sum(m["raw_valid"] and m["connected"] for m in molecules),
        "distinct": len({m["smiles"] for m in molecules}),
        "in several pieces": sum(not m["connected"] for m in molecules),
    }
    cells |= {f"failed: {reason}": n for reason, n in Counter(f["reason"] for f in made["failures"]).items()}
    metrics = json.loads((folder / "summary.json").read_text(encoding="utf-8"))["metrics"]
    for name in ("pb_valid_of_requested", "qed", "sa", "heavy_atoms", "clashes", "strain_uff", "vina_min"):
        entry = metrics[name]
        kind = "median" if name == "strain_uff" else "mean"  # one odd molecule has any strain
        value = entry["status"] if entry[kind] is None else f"{entry[kind]:.2f} (n {entry['n']})"
        cells[f"{kind} {name}"] = "-" if value == "ok" else value
    return {key: str(value) for key, value in cells.items()}


def table(columns: dict[str, dict[str, str]]) -> str:
    """Markdown table with one column per sample; a reason that a sample does not have counts 0."""
    rows = list(dict.fromkeys(key for column in columns.values() for key in column))
    rows.sort(key=lambda key: key.startswith(("mean ", "median ")))
    cells = [["", *columns], ["---"] * (len(columns) + 1)]
    cells += [[row, *(column.get(row, "0") for column in columns.values())] for row in rows]
    widths = [max(len(line[k]) for line in cells) for k in range(len(cells[0]))]
    return "\n".join("| " + " | ".join(c.ljust(w) for c, w in zip(line, widths, strict=True)) + " |" for line in cells)


def main() -> None:
    """Sample, relax, score, rank, and say where everything is."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--out", type=Path, default=Path("demo"), help="folder of everything written (%(default)s)")
    parser.add_argument("--num", type=int, default=20, help="ligands (%(default)s)")
    parser.add_argument("--train", action="store_true", help="first train weights of your own (7 minutes more)")
    parser.add_argument("--share", type=float, default=1.0, help="share of the training steps, for a quick look")
    args = parser.parse_args()
    began = time.monotonic()
    out: Path = args.out
    for old in ("training", "trained", "shipped"):
        shutil.rmtree(out / old, ignore_errors=True)
    training = out / "training"
    steps = sampling_steps("shipped", "small", out, args.num)
    samples = ["shipped"]
    if args.train:
        trained = sampling_steps("trained", f"{training}/best_denoiser.pt", out, args.num)
        steps = training_steps(training, args.share) + trained + steps
        samples = ["trained", "shipped"]
    run(steps)

    for name in ("relaxed.sdf", "top.sdf", "report.html"):
        shutil.copyfile(out / "shipped" / name, out / name)
    for plot in training.glob("*_losses_epoch_*.png"):
        shutil.copyfile(plot, out / plot.name)
    text = table({name: outcome(out / name) for name in samples})
    (out / "table.md").write_text(text + "\n", encoding="utf-8")
    print(f"\nWhat came out for the held-out pocket {POCKET.name}:\n\n{text}\n")
    print(
        f"{out}/report.html   scores, pictures, 3D: open it in a browser\n"
        f"{out}/relaxed.sdf   the ligands in the pocket's coordinates\n"
        f"{out}/top.sdf       the best of them\n"
        f"{out}/table.md      the table above\n"
        f"Done in {(time.monotonic() - began) / 60:.1f} minutes. Weights trained for hours on a small set show that "
        "everything works, not what the method can do; see docs/results.md."
    )


if __name__ == "__main__":
    main()
