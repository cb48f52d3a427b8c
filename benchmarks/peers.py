"""Models of other projects, from a checkout that the user names: one training step and one denoising step of each.

Runs in a process of its own, in the Python named by the user (`peers.py PEER ROOT COMPLEXES.npz`), and answers lines on
the standard input (see `meter.serve`). Nothing of the other projects is in this repository. Packages of theirs that are
missing get small stand-ins in plain torch, in this process only.
"""

import importlib.util
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from torch import Tensor

from benchmarks.meter import serve

Step = Callable[[], Any]
Steps = tuple[torch.nn.Module, Step, Step]  # the model, a training step, a denoising step


def scatter_sum(src: Tensor, index: Tensor, dim: int = 0, out: None = None, dim_size: int | None = None) -> Tensor:
    assert dim == 0
    size = int(index.max()) + 1 if dim_size is None else dim_size
    return src.new_zeros(size, *src.shape[1:]).index_add(0, index, src)


def scatter_mean(src: Tensor, index: Tensor, dim: int = 0, out: None = None, dim_size: int | None = None) -> Tensor:
    total = scatter_sum(src, index, dim, dim_size=dim_size)
    count = scatter_sum(src.new_ones(len(src)), index, 0, dim_size=dim_size).clamp(min=1)
    return total / count.view(-1, *[1] * (src.ndim - 1))


def scatter_softmax(src: Tensor, index: Tensor, dim: int = 0, dim_size: int | None = None) -> Tensor:
    assert dim == 0
    size = int(index.max()) + 1 if dim_size is None else dim_size
    wide = index.view(-1, *[1] * (src.ndim - 1)).expand_as(src)
    top = src.new_full((size, *src.shape[1:]), -torch.inf).scatter_reduce(0, wide, src, "amax")
    weight = (src - top[index]).exp()
    return weight / scatter_sum(weight, index, 0, dim_size=size)[index]


def knn_graph(x: Tensor, k: int, batch: Tensor, flow: str = "source_to_target") -> Tensor:
    """[2, edges] (neighbour, atom) within each graph of a sorted `batch`."""
    found, begin = [], 0
    for size in batch.bincount().tolist():
        part = x[begin : begin + size]
        distance = torch.cdist(part, part).fill_diagonal_(torch.inf)
        near = distance.topk(min(k, size - 1), largest=False).indices
        atoms = torch.arange(size, device=x.device).view(-1, 1).expand_as(near)
        found.append(torch.stack([near.flatten(), atoms.flatten()]) + begin)
        begin += size
    return torch.cat(found, 1)


def stand_ins() -> list[str]:
    """Put a small module for each missing package into this process; returns their names."""

    def absent(*_: Any, **__: Any) -> None:
        raise NotImplementedError("a stand-in that the benchmark does not need")

    scatter = {"scatter_sum": scatter_sum, "scatter_add": scatter_sum, "scatter_mean": scatter_mean,
               "scatter_softmax": scatter_softmax}  # fmt: skip
    content: dict[str, dict[str, Any]] = {
        "torch_scatter": scatter,
        "torch_geometric.nn": {"knn_graph": knn_graph, "radius_graph": absent},
        "Bio.PDB.Polypeptide": {"is_aa": absent, "three_to_one": absent},
        "networkx.algorithms": {"isomorphism": types.SimpleNamespace()},
        "rdkit.Chem": {},
        "tqdm.auto": {"tqdm": lambda items, **_: items},
    }
    made = []
    for name, values in content.items():
        if importlib.util.find_spec(name.split(".")[0]) is not None:
            continue
        made.append(name.split(".")[0])
        parts = name.split(".")
        for depth in range(1, len(parts) + 1):
            path = ".".join(parts[:depth])
            module = sys.modules.setdefault(path, types.ModuleType(path))
            if depth > 1:
                setattr(sys.modules[".".join(parts[: depth - 1])], parts[depth - 1], module)
        vars(sys.modules[name]).update(values)
    return made


def optimised(
    model: torch.nn.Module, loss: Callable[[], Tensor], optimizer: torch.optim.Optimizer, clip: float
) -> Step:
    def step() -> None:
        optimizer.zero_grad()
        loss().backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), clip)
        optimizer.step()

    return step


def denoised(step: Callable[[], Any]) -> Step:
    return torch.no_grad()(step)


def rows(x: Tensor) -> tuple[Tensor, Tensor]:
    """[B, N, 3] -> all atoms [B N, 3] and the graph of each."""
    return x.reshape(-1, 3), torch.arange(len(x)).repeat_interleave(x.shape[1])


def diffsbdd(root: Path, ligand: Tensor, pocket: Tensor) -> Steps:
    """DiffSBDD, full-atom, conditional, by its own configuration file."""
    from equivariant_diffusion.conditional_model import ConditionalDDPM  # noqa: PLC0415
    from equivariant_diffusion.dynamics import EGNNDynamics  # noqa: PLC0415

    config = yaml.safe_load((root / "configs" / "crossdock_fullatom_cond.yml").read_text())
    egnn, process, types_ = dict(config["egnn_params"]), config["diffusion_params"], 10
    network = EGNNDynamics(atom_nf=types_, residue_nf=types_, n_dims=3, update_pocket_coords=False,
                           **{**egnn, "device": "cpu"})  # fmt: skip
    (b, n, _), m = ligand.shape, pocket.shape[1]
    model = ConditionalDDPM(
        dynamics=network, atom_nf=types_, residue_nf=types_, n_dims=3, timesteps=process["diffusion_steps"],
        noise_schedule=process["diffusion_noise_schedule"], noise_precision=process["diffusion_noise_precision"],
        loss_type=process["diffusion_loss_type"], norm_values=process["normalize_factors"],
        size_histogram=np.ones((n + 2, m + 2)),
    )  # fmt: skip

    def side(x: Tensor) -> dict[str, Tensor]:
        flat, graph = rows(x)
        kinds = torch.nn.functional.one_hot(torch.arange(len(flat)) % types_, types_).float()
        return {"x": flat, "one_hot": kinds, "mask": graph, "size": torch.full((b,), x.shape[1])}

    def loss() -> Tensor:
        terms = model(side(ligand), side(pocket))
        error = terms[1] / ((3 + types_) * n)
        return (0.5 * error + terms[4] / (3 * n) + terms[6] + terms[8]).mean()

    one, other = model.normalize(side(ligand), side(pocket))
    centre = one["x"].view(b, n, 3).mean(1, keepdim=True)
    z = torch.cat([(one["x"].view(b, n, 3) - centre).flatten(0, 1), one["one_hot"]], 1)
    seen = torch.cat([(other["x"].view(b, m, 3) - centre).flatten(0, 1), other["one_hot"]], 1)
    s, t = torch.full((b, 1), 0.498), torch.full((b, 1), 0.5)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, amsgrad=True, weight_decay=1e-12)
    denoise = denoised(lambda: model.sample_p_zs_given_zt(s, t, z, seen, one["mask"], other["mask"]))
    return model, optimised(model, loss, optimizer, 3000.0), denoise


def targetdiff(root: Path, ligand: Tensor, pocket: Tensor) -> Steps:
    """TargetDiff by its own configuration file."""
    from models.molopt_score_model import ScorePosNet3D  # noqa: PLC0415

    config = yaml.safe_load((root / "configs" / "training.yml").read_text())
    ligand_types, protein_features = 13, 27
    model = ScorePosNet3D(types.SimpleNamespace(**config["model"]), protein_features, ligand_types)
    (x, graph), (pocket_x, pocket_graph) = rows(ligand), rows(pocket)
    kinds = torch.arange(len(x)) % ligand_types
    features = torch.nn.functional.one_hot(torch.arange(len(pocket_x)) % protein_features, protein_features).float()
    both = (pocket_x, features, pocket_graph, x, kinds, graph)
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-4, betas=(0.95, 0.999))
    denoise = denoised(lambda: model.sample_diffusion(*both, num_steps=1, center_pos_mode="protein"))
    return model, optimised(model, lambda: model.get_diffusion_loss(*both)["loss"], optimizer, 8.0), denoise


def geoldm(root: Path, ligand: Tensor, pocket: Tensor) -> Steps:
    """GeoLDM for QM9 with a trained autoencoder, by the flags of its documentation; it knows no pocket."""
    from configs.datasets_config import qm9_with_h  # noqa: PLC0415
    from qm9.losses import compute_loss_and_nll  # noqa: PLC0415
    from qm9.models import get_latent_diffusion  # noqa: PLC0415

    b, n, _ = ligand.shape
    args = types.SimpleNamespace(
        ae_path=None, cuda=False, latent_nf=1, kl_weight=0.01, nf=256, n_layers=9, attention=True, tanh=True,
        model="egnn_dynamics", norm_constant=1, inv_sublayers=1, sin_embedding=False, normalization_factor=1,
        aggregation_method="sum", include_charges=True, context_node_nf=0, conditioning=[], condition_time=True,
        trainable_ae=True, diffusion_steps=1000, diffusion_noise_schedule="polynomial_2",
        diffusion_noise_precision=1e-5, diffusion_loss_type="l2", normalize_factors=[1, 4, 10],
        probabilistic_model="diffusion",
    )  # fmt: skip
    model, nodes, _ = get_latent_diffusion(args, "cpu", {**qm9_with_h, "n_nodes": {n: 1}}, None)
    x = ligand - ligand.mean(1, keepdim=True)
    kinds = torch.nn.functional.one_hot(torch.arange(n).expand(b, n) % 5, 5).float()
    h = {"categorical": kinds, "integer": kinds.argmax(-1, keepdim=True).float()}
    node_mask, edge_mask = torch.ones(b, n, 1), (1 - torch.eye(n)).expand(b, n, n).reshape(-1, 1)
    z = torch.cat([x, torch.randn(b, n, 1)], -1)
    s, t = torch.full((b, 1), 0.499), torch.full((b, 1), 0.5)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, amsgrad=True, weight_decay=1e-12)
    denoise = denoised(lambda: model.sample_p_zs_given_zt(s, t, z, node_mask, edge_mask, None))

    def loss() -> Tensor:
        value: Tensor = compute_loss_and_nll(args, model, nodes, x, h, node_mask, edge_mask, None)[0]
        return value

    return model, optimised(model, loss, optimizer, 100.0), denoise


PEERS = {"diffsbdd": diffsbdd, "targetdiff": targetdiff, "geoldm": geoldm}


def main() -> None:
    name, root, complexes = sys.argv[1], Path(sys.argv[2]), np.load(sys.argv[3])
    torch.set_num_threads(1)
    torch.manual_seed(0)
    made = stand_ins()
    sys.path.insert(0, str(root))
    answers, sys.stdout = sys.stdout, sys.stderr  # their models print while they are built
    model, train, denoise = PEERS[name](root, *(torch.from_numpy(complexes[k]) for k in ("ligand", "pocket")))
    sys.stdout = answers
    facts = {"parameters": sum(p.numel() for p in model.parameters()), "stand_ins": made}
    serve({"train": train, "denoise": denoise}, facts)


if __name__ == "__main__":
    main()
