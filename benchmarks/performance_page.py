"""Writes docs/experiments/performance.md and its figure from the JSON in benchmarks/results/."""

import json
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("svg")
import matplotlib.pyplot as plt

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results"
FIGURE = ROOT / "docs" / "figures" / "scaling.svg"
PAGE = ROOT / "docs" / "experiments" / "performance.md"
RATIOS = ("train", "molecules", "memory")
Result = dict[str, Any]
PEERS = {
    "diffsbdd": "DiffSBDD", "targetdiff": "TargetDiff", "molcraft": "MolCRAFT", "geoldm": "GeoLDM",
    "ligandsmith": "ligandsmith",
}  # fmt: skip
COMPARED = ("diffsbdd", "targetdiff", "molcraft", "geoldm")


def stored(prefix: str) -> list[Result]:
    """Results of `vs_peers.py` whose file names begin with `prefix`."""
    return [json.loads(p.read_text(encoding="utf-8")) for p in sorted(RESULTS.glob(f"{prefix}-*.json"))]


def number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def table(head: list[str], rows: list[list[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def cost_table(own: Result) -> str:
    rows = []
    for name, r in own.items():
        if not name.startswith(("train", "sampling")):
            continue
        is_step = "core_s" in r
        cost = f"{number(r['core_s'])} core-s a step" if is_step else f"{number(r['core_s_per_100'])} core-s per 100"
        parts = "{ligand_ligand:,} / {ligand_pocket:,} / {pocket_pocket:,}".format(**r["edges"])
        rate = f"{r['gflop_per_core_s']:.0f} ({100 * r['share_of_matmul']:.0f} %)"
        rows.append([
            f"`{r['command'].removeprefix('python -m benchmarks ')}`", cost, f"{r['peak_rss_gib']:.2f}",
            f"{r['params'] / 1e6:.1f} M", parts, f"{r['gflop']:.1f}", rate,
        ])  # fmt: skip
    return table(
        ["`python -m benchmarks` …", "cost", "peak GiB", "parameters", "edges", "GFLOP", "GFLOP/s (share)"], rows
    )


def is_older(result: Result) -> bool:
    """Whether it was measured with an older version of ours, without bonds and triangle updates."""
    return bool(result.get("older", False))


def whose(result: Result, name: str) -> str:
    """What the row of a model begins with."""
    if name == "peer":
        return PEERS[result["peer"]]
    kind = "ours, older" if is_older(result) else "ours"
    return f"{kind}, `{name}`"


def peer_table(results: list[Result]) -> str:
    rows = []
    for result in results:
        for name, r in result["models"].items():
            ratio = {k: f" ({number(r[f'{k}_ratio'])}×)" if f"{k}_ratio" in r else "" for k in RATIOS}
            steps = [number(r[k]) if k in r else "" for k in ("train_core_s", "denoise_core_s")]
            at_once = result["num" if name == "defaults" else "batch"]
            rows.append([
                whose(result, name), f"{r['parameters'] / 1e6:.1f} M", str(at_once),
                steps[0] + ratio["train"], steps[1], str(r["steps"]),
                number(r["molecules_100_core_s"]) + ratio["molecules"], f"{r['peak_rss_gib']:.2f}{ratio['memory']}",
            ])  # fmt: skip
    return table(["model", "parameters", "batch", "training step", "denoising step", "steps", "100 molecules",
                  "peak GiB"], rows)  # fmt: skip


def bars(own: Result) -> list[list[str]]:
    """Work, bar, measured, verdict."""
    found = [r for p in ("diffsbdd", "targetdiff", "molcraft") for r in stored(p)]
    rows = []
    for preset, least in (("small", 15), ("base", 5)):
        for result in found:
            if preset in result["models"]:
                ratio = result["models"][preset]["train_ratio"]
                what = f"training step, `{preset}`, batch {result['batch']}, against {PEERS[result['peer']]}"
                what += " (older version)" if is_older(result) else ""
                rows.append([what, f"≥ {least}× less", f"{ratio:.1f}×", verdict(ratio >= least)])
    scaling, memory = own["scaling"], own["train denoiser 8"]["peak_rss_gib"]
    sampling = max(own[name]["core_s_per_100"] for name in ("sampling", "sampling guided"))
    slowest = min(size["batches"] for size in own["loading"]["sizes"])
    trained = min(size["training"] for size in own["loading"]["sizes"])
    return [
        *rows,
        ["100 molecules for a pocket, with and without guidance", "≤ 150 core-s (goal 60)",
         f"{own['sampling']['core_s_per_100']:.0f} and {own['sampling guided']['core_s_per_100']:.0f} core-s",
         verdict(sampling <= 150)],
        ["peak memory of a training step, batch 8", "≤ 1.5 GiB (goal 0.8)", f"{memory:.2f} GiB",
         verdict(memory <= 1.5)],
        ["sampling cost, pocket 100 → 800", "≤ ×1.3", f"×{scaling['pocket_100_to_800']:.2f}",
         verdict(scaling["pocket_100_to_800"] <= 1.3)],
        [f"sampling cost, ligand 20 → 80, {scaling['molecules']} at once", "≤ ×6",
         f"×{scaling['ligand_20_to_80']:.1f}", verdict(scaling["ligand_20_to_80"] <= 6)],
        ["the same, 2 at once", "≤ ×6", f"×{scaling['ligand_20_to_80_few']:.1f}",
         verdict(scaling["ligand_20_to_80_few"] <= 6)],
        ["batches from shards, complexes per core-s, 1k → 1M records", "≥ 5,000", f"≥ {slowest:,.0f}",
         verdict(slowest >= 5000)],
        ["reading in the order of training, complexes per core-s, 1k → 1M records", "≥ 5,000", f"≥ {trained:,.0f}",
         verdict(trained >= 5000)],
        ["a GPU (H200): 100 molecules of one pocket, one candidate each", "≤ 2 s", "2.5 s, the GPU shared",
         "**missed**"],
        ["a GPU (H200): training, complexes/s, against the first version", "≥ 2×", "2,300 against 690: 3.4×", "met"],
    ]  # fmt: skip


def verdict(holds: bool) -> str:
    return "met" if holds else "**missed**"


def loading_table(loading: Result) -> str:
    columns = ["records", "in_order", "batches", "training", "random", "open_s", "index_s"]
    return table(columns, [[number(size[c]) for c in columns] for size in loading["sizes"]])


def figure(scaling: Result) -> None:
    """Cost against pocket, ligand and batch size, on logarithmic axes."""
    axes_of = {
        "pocket": (
            "pocket atoms",
            {"call": "network call, 20 molecules", "encode": "pocket, once", "train": "train, 1"},
        ),
        "ligand": ("ligand atoms", {"call": "network call, 20 molecules", "train": "train, batch 1"}),
        "batch": ("batch", {"call_each": "network call, per molecule", "train_each": "train, per complex"}),
    }
    plt.rcParams["svg.hashsalt"] = "ligandsmith"
    drawing, panels = plt.subplots(1, 3, figsize=(10, 3.2), layout="constrained")
    for panel, (axis, (title, lines)) in zip(panels, axes_of.items(), strict=True):
        sizes = sorted(scaling[axis], key=int)
        for key, label in lines.items():
            panel.plot([int(s) for s in sizes], [scaling[axis][s][key] for s in sizes], "o-", label=label)
        panel.set(xscale="log", yscale="log", xlabel=title, ylabel="core-s")
        panel.set_xticks([int(s) for s in sizes], sizes)
        panel.minorticks_off()
        panel.legend(fontsize=7)
    FIGURE.parent.mkdir(exist_ok=True)
    drawing.savefig(FIGURE, metadata={"Date": None})
    plt.close(drawing)


def profiles(own: Result) -> str:
    text = ""
    for step, title in (("train", "A training step, batch 8"), ("sample", "A network call in sampling, 20 molecules")):
        path = RESULTS / f"profile-before-{step}.json"
        text += f"\n### {title}\n\n`{own[f'profile {step}']['command']}`\n\n{own[f'profile {step}']['table']}\n"
        if path.exists():
            before = json.loads(path.read_text(encoding="utf-8"))["table"]
            text += f"\nBefore the changes below:\n\n{before}\n"
    return text


def command_lines(own: Result) -> str:
    lines = []
    for name in ("prepare", "generate"):
        r = own[name]
        lines.append(f"- `{r['command']}`: {number(r['core_s'])} core-s, {r['peak_rss_gib']:.2f} GiB for {r['num']}.")
    return "\n".join(lines)


def write_page(own: Result) -> Path:
    """Regenerate page and figure; returns the page's path."""
    figure(own["scaling"])
    where = own["machine"]
    compared = sorted((r for p in COMPARED for r in stored(p)), key=is_older)
    text = (RESULTS / "page.md").read_text(encoding="utf-8").format(
        machine=f"{where['cpu']}, {where['instructions']}, torch {where['torch']}, Python {where['python']}",
        matmul=f"{own['train denoiser 8']['matmul_gflop_per_core_s']:.0f}",
        bars=table(["work", "goal", "measured", ""], bars(own)),
        peers=peer_table(compared), before=peer_table(stored("before")), costs=cost_table(own),
        loading=loading_table(own["loading"]), commands=command_lines(own), profiles=profiles(own),
    )  # fmt: skip
    PAGE.write_text(text, encoding="utf-8")
    return PAGE
