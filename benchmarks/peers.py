"""Models of other projects, from a checkout that the user names: one training step and one denoising step of each.

DiffSBDD, TargetDiff and GeoLDM: the root of their repositories. MolCRAFT: the folder MolCRAFT in its repository.

Runs in a process of its own, in the Python named by the user (`peers.py PEER ROOT COMPLEXES.npz`), and answers lines on
the standard input (see `meter.serve`). Nothing of the other projects is in this repository. Packages of theirs that are
missing get small stand-ins (`stand_ins.py`), in this process only.
"""

import re
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import torch
import yaml
from torch import Tensor

from benchmarks.meter import serve
from benchmarks.stand_ins import install_stand_ins

Step = Callable[[], Any]
Steps = tuple[torch.nn.Module, Step, Step]  # the model, a training step, a denoising step

# The values that MolCRAFT's README gives for its configuration file, and the defaults of its train_bfn.py.
MOLCRAFT_VALUES = {
    "sigma1_coord": 0.03, "beta1": 1.5, "t_min": 1e-4, "use_discrete_t": True, "discrete_steps": 1000,
    "destination_prediction": True, "sampling_strategy": "end_back_pmf", "time_emb_mode": "simple", "time_emb_dim": 1,
    "pos_init_mode": "zero", "pos_normalizer": 2.0, "v_loss_weight": 1, "lr": 5e-4, "weight_decay": 0,
}  # fmt: skip


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


def molcraft(root: Path, ligand: Tensor, pocket: Tensor) -> Steps:
    """MolCRAFT, a Bayesian flow network, by its own configuration file."""
    from core.config.config import Config  # noqa: PLC0415
    from core.models.bfn4sbdd import BFN4SBDDScoreModel  # noqa: PLC0415

    path = root / "configs" / "default.yaml"
    unset = dict.fromkeys(re.findall(r"\$\{(\w+)", path.read_text()), "unset")
    config = Config(path, **unset | MOLCRAFT_VALUES).todict()
    dynamics, chosen, scale = config["dynamics"], config["train"], config["data"]["normalizer_dict"]["pos"]
    model = BFN4SBDDScoreModel(**dynamics, device="cpu")
    centre = pocket.mean(1, keepdim=True)
    (x, graph), (pocket_x, pocket_graph) = rows((ligand - centre) / scale), rows((pocket - centre) / scale)
    ligand_types, protein_features = dynamics["ligand_atom_feature_dim"], dynamics["protein_atom_feature_dim"]
    kinds = torch.arange(len(x)) % ligand_types
    features = torch.nn.functional.one_hot(torch.arange(len(pocket_x)) % protein_features, protein_features).float()
    protein = {"protein_pos": pocket_x, "protein_v": features, "batch_protein": pocket_graph}

    def loss() -> Tensor:
        t = torch.rand(len(ligand), 1)[graph]
        terms = model.loss_one_step(t, **protein, ligand_pos=x, ligand_v=kinds, batch_ligand=graph)
        return (terms[0] + chosen["v_loss_weight"] * terms[1] + terms[2]).mean()

    def denoise() -> None:
        """One step of `sample`, without the call of the network that follows the last step."""
        network, answers = model.interdependency_modeling, []

        def first_answer(**inputs: Any) -> Any:
            if not answers:
                answers.append(network(**inputs))
            return answers[0]

        with mock.patch.object(model, "interdependency_modeling", first_answer):
            model.sample(**protein, batch_ligand=graph, n_nodes=len(ligand), sample_steps=1)

    rates = {key: chosen["optimizer"][key] for key in ("lr", "weight_decay")}
    betas = (chosen["optimizer"]["beta1"], chosen["optimizer"]["beta2"])
    optimizer = torch.optim.Adam(model.parameters(), betas=betas, **rates)
    return model, optimised(model, loss, optimizer, 8.0), denoised(denoise)


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


PEERS = {"diffsbdd": diffsbdd, "targetdiff": targetdiff, "molcraft": molcraft, "geoldm": geoldm}


def main() -> None:
    name, root, complexes = sys.argv[1], Path(sys.argv[2]), np.load(sys.argv[3])
    torch.set_num_threads(1)
    torch.manual_seed(0)
    made = install_stand_ins()
    sys.path.insert(0, str(root))
    answers, sys.stdout = sys.stdout, sys.stderr  # their models print while they are built
    model, train, denoise = PEERS[name](root, *(torch.from_numpy(complexes[k]) for k in ("ligand", "pocket")))
    sys.stdout = answers
    facts = {"parameters": sum(p.numel() for p in model.parameters()), "stand_ins": made}
    serve({"train": train, "denoise": denoise}, facts)


if __name__ == "__main__":
    main()
