"""The denoiser: symmetries, pockets that are shared or absent, padding.

z_x is noised around the origin of the pocket's frame, so a denoiser is equivariant under rotations about that origin
and under permutations, but not under translations: a shifted ligand and pocket are another place of the frame.
"""

from dataclasses import replace
from typing import NamedTuple

import pytest
import torch
from networks import Skewed, denoiser_config, double_precision, rotation, wake, without_chirality
from torch import Tensor

from ligandsmith.batches import ComplexBatch
from ligandsmith.config import SamplingConfig
from ligandsmith.diffusion import rng
from ligandsmith.diffusion.guidance import GuidedDenoiser
from ligandsmith.diffusion.process import (
    UNCONDITIONED,
    Conditioning,
    Layout,
    NoisyLigand,
    coefficients,
    make_schedule,
    to_clean,
)
from ligandsmith.diffusion.samplers import SAMPLERS, time_grid
from ligandsmith.models.denoiser import Denoiser
from ligandsmith.models.pocket_vae import PocketLatents, null_pocket, pocket_latents
from ligandsmith.structure.vocabulary import BOND_CLASSES

WIDTH, POCKET_WIDTH = 4, 6
KEYS = rng.make_seeds(4, torch.arange(4))
SCALE = torch.tensor(3.0)
LINEAR = make_schedule("linear")


class Case(NamedTuple):
    """Noised latents [B, N, 3 + Z], their mask, an earlier estimate, bonds [B, N, N, 10] of both, and the pockets'
    coordinates, features, mask."""

    z: Tensor
    mask: Tensor
    previous: Tensor
    bonds: Tensor
    x: Tensor
    h: Tensor
    pocket_mask: Tensor

    def turned(self, q: Tensor) -> "Case":
        q = q.to(self.z.dtype)
        z, previous = (torch.cat([v[..., :3] @ q, v[..., 3:]], -1) for v in (self.z, self.previous))
        return self._replace(z=z, previous=previous, x=self.x @ q)

    def doubled(self) -> "Case":
        return Case(*(v if v.dtype == torch.bool else v.double() for v in self))

    def rows(self, rows: slice, atoms: int, pocket_atoms: int) -> "Case":
        ligand = (v[rows, :atoms] for v in self[:3])
        return Case(*ligand, self.bonds[rows, :atoms, :atoms], *(v[rows, :pocket_atoms] for v in self[4:]))

    def latents(self, denoiser: Denoiser) -> tuple[Tensor, Tensor]:
        """Noised and earlier latents with as many columns as the denoiser reads."""
        if not denoiser.config.bonds:
            return self.z, self.previous
        noised, earlier = (v.flatten(2) for v in self.bonds.chunk(2, -1))
        return torch.cat([self.z, noised], -1), torch.cat([self.previous, earlier], -1)

    def conditioning(self) -> Conditioning:
        """A part of each ligand and some properties: told by the latents, so that they move with the atoms."""
        fixed = self.mask & (self.z[..., 3] > 0)
        fragment = self.previous[..., 3:] * fixed.unsqueeze(-1)
        properties = 0.1 * self.z[..., 4:].sum(1)
        return Conditioning(fixed, fragment, properties.masked_fill(properties < 0, torch.nan))

    def pocket(self) -> PocketLatents:
        return pocket_latents(self.x, self.h, self.pocket_mask, denoiser_config().anchors)


@pytest.fixture
def case(batch: ComplexBatch) -> Case:
    assert batch.pocket is not None
    n, m = batch.ligand.mask.shape[1], batch.pocket.mask.shape[1]
    weight = batch.ligand.mask.unsqueeze(-1)
    clean = torch.cat([batch.ligand.x / SCALE, rng.normal(KEYS, "h", (n, WIDTH))], -1)
    z = (0.7 * clean + 0.3 * rng.normal(KEYS, "eps", (n, 3 + WIDTH))) * weight
    previous = (clean + 0.2 * rng.normal(KEYS, "previous", (n, 3 + WIDTH))) * weight
    h = rng.normal(KEYS, "pocket", (m, POCKET_WIDTH))
    layout, ligand = Layout(WIDTH, len(BOND_CLASSES)), batch.ligand
    clean = layout.bonds(layout.with_bonds(z, ligand.bonds, ligand.mask))
    noised = 0.7 * clean + 0.3 * layout.bonds(layout.noise(KEYS, "bonds", ligand.mask))
    return Case(z, ligand.mask, previous, torch.cat([noised, clean], -1), batch.pocket.x, h, batch.pocket.mask)


def make(kind: str = "eqattn", prediction: str = "f") -> Denoiser:
    torch.manual_seed(0)
    denoiser = wake(Denoiser(denoiser_config(kind), WIDTH, POCKET_WIDTH, prediction))
    assert isinstance(denoiser, Denoiser)
    return denoiser


@torch.no_grad()
def predict(
    denoiser: Denoiser, case: Case, pocket: PocketLatents | None = None, null: Tensor | None = None,
    conditioning: Conditioning | None = None, triangles: bool = True,
) -> Tensor:  # fmt: skip
    pocket = case.pocket() if pocket is None else pocket
    times = torch.tensor([0.3, 0.5, 0.2, 0.4])[: len(case.z)]
    c = coefficients(LINEAR, times, denoiser.prediction)
    z, previous = case.latents(denoiser)
    noisy = NoisyLigand(z, case.mask, times, times, c, c, SCALE.to(case.z.dtype), previous)
    if denoiser.config.fragments:
        noisy = noisy._replace(conditioning=case.conditioning() if conditioning is None else conditioning)
    if null is None:
        null = ~pocket.mask.any(-1)
        null = null.repeat_interleave(len(case.z) // len(null), 0)
    return denoiser(noisy, denoiser.project_pocket(pocket), null, triangles)


def deviation(denoiser: Denoiser, case: Case, q: Tensor) -> float:
    """Å and latent units between the output for a turned case and the turned output."""
    plain, other = predict(denoiser, case), predict(denoiser, case.turned(q))
    expected = torch.cat([plain[..., :3] @ q.to(plain.dtype), plain[..., 3:]], -1)
    return float((other - expected).abs().max()) * float(SCALE)


@pytest.fixture(params=["eqattn", "egnn", "bonds", "conditioned"])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.mark.parametrize("prediction", ["f", "eps"])
def test_the_target_turns_with_ligand_and_pocket(
    case: Case, kind: str, prediction: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    denoiser = make(kind, prediction)
    assert deviation(denoiser, case, rotation()) < 1e-4
    with double_precision(monkeypatch):
        assert deviation(denoiser.double(), case.doubled(), rotation()) < 1e-9


@pytest.mark.parametrize("blocks", ["self_blocks", "cross_blocks"])
def test_a_broken_block_is_caught(case: Case, blocks: str) -> None:
    denoiser = make()
    getattr(denoiser, blocks)[0] = Skewed(getattr(denoiser, blocks)[0])
    assert deviation(denoiser, case, rotation()) > 1e-2


def test_a_mirror_image_is_another_complex_unless_chirality_is_off(case: Case) -> None:
    denoiser = make()
    assert deviation(denoiser, case, rotation(reflected=True)) > 3e-4
    without_chirality(denoiser)
    assert deviation(denoiser, case, rotation(reflected=True)) < 1e-4


def test_the_order_of_ligand_and_pocket_atoms_does_not_matter(case: Case, kind: str) -> None:
    denoiser = make(kind)
    generator = torch.Generator().manual_seed(2)
    p, r = (torch.randperm(v.shape[1], generator=generator) for v in (case.mask, case.pocket_mask))
    bonds = case.bonds[:, p][:, :, p]
    other = Case(*(v[:, p] for v in case[:3]), bonds, *(v[:, r] for v in case[4:]))
    found, expected = predict(denoiser, other), predict(denoiser, case)[:, p]
    atom, orders = denoiser.layout.atom, denoiser.layout.orders
    assert torch.allclose(found[..., :atom], expected[..., :atom], atol=1e-5)
    if orders:
        assert torch.allclose(denoiser.layout.bonds(found), denoiser.layout.bonds(expected)[:, :, p], atol=1e-5)


@torch.no_grad()
def test_without_triangles_it_is_the_network_whose_updates_are_zero(case: Case) -> None:
    denoiser = make("bonds")
    whole, weaker = predict(denoiser, case), predict(denoiser, case, triangles=False)
    for name, parameter in denoiser.named_parameters():
        if "triangle.out" in name:
            parameter.zero_()
    assert torch.equal(weaker, predict(denoiser, case))
    assert float((weaker - whole).abs().max()) > 1e-3


@torch.no_grad()
def trajectory(denoiser: Denoiser, case: Case, q: Tensor) -> Tensor:
    """Twenty guided Euler steps with churn from noise turned by q, with fresh noise turned by q."""
    turned = case.turned(q)
    kv, null = denoiser.project_pocket(turned.pocket()), ~case.pocket_mask.any(-1)

    def draw(stream: str) -> Tensor:
        value = rng.normal(KEYS[: len(case.z)], stream, case.z.shape[1:]).to(case.z.dtype) * case.mask.unsqueeze(-1)
        return torch.cat([value[..., :3] @ q.to(value.dtype), value[..., 3:]], -1)

    def network(noisy: NoisyLigand, dropped: Tensor) -> Tensor:
        return denoiser(noisy, kv, dropped | null.repeat_interleave(len(dropped) // len(null), 0))

    setting = SamplingConfig(cfg_scale=1.5, cfg_scale_x=1.5)
    denoise = GuidedDenoiser(network, case.mask, SCALE.to(case.z.dtype), setting, LINEAR, "f", denoiser.layout)
    grid = time_grid(20, 0.005, 2.0)
    return SAMPLERS["euler"](denoise, draw("start"), grid, LINEAR, lambda i: draw(f"step {i}"), 0.3)


def test_a_guided_trajectory_turns_with_its_noise_and_pocket(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    denoiser, q = make(), rotation()
    case = case.rows(slice(2, 4), case.mask.shape[1], case.pocket_mask.shape[1])
    plain, other = (trajectory(denoiser, case, turn) for turn in (torch.eye(3), q))
    assert torch.allclose(other[..., :3], plain[..., :3] @ q.float(), atol=1e-4 / float(SCALE))
    assert torch.allclose(other[..., 3:], plain[..., 3:], atol=1e-4)
    with double_precision(monkeypatch):
        denoiser = denoiser.double()
        plain, other = (trajectory(denoiser, case.doubled(), turn) for turn in (torch.eye(3), q))
    assert torch.allclose(other[..., :3], plain[..., :3] @ q, atol=1e-9)


def test_batch_mates_and_padding_do_not_matter(case: Case, kind: str) -> None:
    denoiser = make(kind)
    together = predict(denoiser, case)
    assert not together[~case.mask].any()
    null = case.pocket_mask.any(-1).logical_not()
    for i in range(4):
        n, m = int(case.mask[i].sum()), max(int(case.pocket_mask[i].sum()), 1)
        one = case.rows(slice(i, i + 1), n, m)
        times = torch.tensor([0.3, 0.5, 0.2, 0.4])[i : i + 1]
        c = coefficients(LINEAR, times, "f")
        z, previous = one.latents(denoiser)
        given = one.conditioning() if denoiser.config.fragments else UNCONDITIONED
        noisy = NoisyLigand(z, one.mask, times, times, c, c, SCALE, previous, given)
        with torch.no_grad():
            alone = denoiser(noisy, denoiser.project_pocket(one.pocket()), null[i : i + 1])
        assert torch.allclose(alone[0], denoiser.layout.single(together[i], n), atol=1e-5)


def test_a_shared_pocket_equals_repeated_pockets(case: Case, kind: str) -> None:
    denoiser = make(kind)
    shared = case._replace(x=case.x[:2], h=case.h[:2], pocket_mask=case.pocket_mask[:2])
    pockets = [v.repeat_interleave(2, 0) for v in (shared.x, shared.h, shared.pocket_mask)]
    repeated = case._replace(x=pockets[0], h=pockets[1], pocket_mask=pockets[2])
    assert torch.allclose(predict(denoiser, shared), predict(denoiser, repeated), atol=1e-6)


def test_the_null_branch_sees_nothing_of_its_pocket(case: Case, kind: str) -> None:
    denoiser, null = make(kind), torch.ones(4, dtype=torch.bool)
    without = predict(denoiser, case, null_pocket(4, POCKET_WIDTH, 4, torch.device("cpu")), null)
    assert torch.allclose(predict(denoiser, case, null=null), without, atol=1e-6)
    seen = (predict(denoiser, case) - without).abs().amax((1, 2))
    assert float(seen[:3].min()) > 1e-3
    assert float(seen[3]) < 1e-6


@pytest.mark.parametrize("sets", [1, 2, 4])
def test_each_molecule_of_a_batch_sees_its_pocket_or_not(case: Case, kind: str, sets: int) -> None:
    denoiser = make(kind)
    case = case._replace(x=case.x[:sets], h=case.h[:sets], pocket_mask=case.pocket_mask[:sets])
    null = torch.tensor([False, True, True, False])
    without, seen, mixed = (predict(denoiser, case, null=n) for n in (null | True, null & False, null))
    assert torch.allclose(mixed, torch.where(null.view(-1, 1, 1), without, seen), atol=1e-6)


@pytest.mark.parametrize("num_with_pocket", [3, 4])
def test_to_be_told_which_pockets_there_are_changes_nothing(case: Case, kind: str, num_with_pocket: int) -> None:
    denoiser, pocket = make(kind), case.pocket()
    null = torch.tensor([False, True, False, True])
    told = replace(pocket, num_with_pocket=num_with_pocket)
    assert torch.allclose(predict(denoiser, case, told, null), predict(denoiser, case, pocket, null), atol=1e-6)
    too_few = replace(pocket, num_with_pocket=1)
    assert float((predict(denoiser, case, too_few, null) - predict(denoiser, case, pocket, null)).abs().max()) > 1e-3


def test_a_cut_off_hides_what_is_beyond(case: Case) -> None:
    denoiser = make()
    whole = predict(denoiser, case)
    denoiser.config = type(denoiser.config)(**{**vars(denoiser.config), "cutoff": 1e-3})
    blind = predict(denoiser, case)
    far = case._replace(x=case.x * 1.7)
    assert not torch.allclose(whole, blind, atol=1e-4)
    assert torch.allclose(predict(denoiser, far), blind, atol=1e-6)


def test_anchors_and_earlier_estimates_are_used(case: Case) -> None:
    denoiser = make()
    plain = predict(denoiser, case)
    bare = pocket_latents(case.x, case.h, case.pocket_mask, 0)
    assert not torch.allclose(predict(denoiser, case, bare), plain, atol=1e-4)
    fresh = case._replace(previous=torch.zeros_like(case.previous))
    assert not torch.allclose(predict(denoiser, fresh), plain, atol=1e-4)


def test_an_untrained_denoiser_says_little(case: Case, kind: str) -> None:
    torch.manual_seed(0)
    denoiser = Denoiser(denoiser_config(kind), WIDTH, POCKET_WIDTH, "f")
    target = predict(denoiser, case)
    assert not target[..., 3 : denoiser.layout.atom].any()
    assert float(target[..., :3].abs().max()) < 2


@pytest.mark.parametrize("kind", ["eqattn", "bonds"])
def test_every_parameter_gets_a_finite_gradient(case: Case, kind: str) -> None:
    denoiser = make(kind)
    times = torch.tensor([0.3, 0.5, 0.2, 0.4])
    c = coefficients(LINEAR, times, "f")
    z, previous = case.latents(denoiser)
    noisy = NoisyLigand(z, case.mask, times, times, c, c, SCALE, previous)
    denoiser(noisy, denoiser.project_pocket(case.pocket()), ~case.pocket_mask.any(-1)).square().sum().backward()
    missing = [name for name, p in denoiser.named_parameters() if p.grad is None or not torch.isfinite(p.grad).all()]
    assert missing == []


def test_bonds_are_probabilities_the_same_from_both_ends(case: Case) -> None:
    denoiser = make("bonds")
    c = coefficients(LINEAR, torch.tensor([0.3, 0.5, 0.2, 0.4]), "f")
    clean = denoiser.layout.bonds(to_clean(case.latents(denoiser)[0], predict(denoiser, case), c))
    pairs = case.mask.unsqueeze(1) & case.mask.unsqueeze(2) & ~torch.eye(case.mask.shape[1], dtype=torch.bool)
    assert torch.allclose(clean.sum(-1), pairs.float(), atol=1e-5)
    assert float(clean.min()) > -1e-5
    assert torch.allclose(clean, clean.transpose(1, 2), atol=1e-5)


def test_noised_bonds_and_earlier_ones_are_used(case: Case) -> None:
    denoiser = make("bonds")
    plain = predict(denoiser, case)[..., : denoiser.layout.atom]
    for columns in (slice(0, 5), slice(5, 10)):
        without = case.bonds.clone()
        without[..., columns] = 0
        assert not torch.allclose(predict(denoiser, case._replace(bonds=without))[..., : denoiser.layout.atom], plain)


def test_given_atoms_and_properties_change_the_answer(case: Case) -> None:
    denoiser, given = make("conditioned"), case.conditioning()
    told = predict(denoiser, case)
    assert given.fixed is not None
    assert given.fragment is not None
    assert given.fixed.any(1).all()
    assert (case.mask & ~given.fixed).any(1).all()
    for other in (
        given._replace(properties=None),
        given._replace(fragment=-given.fragment),
        given._replace(fixed=torch.zeros_like(given.fixed)),
    ):
        assert not torch.allclose(predict(denoiser, case, conditioning=other), told, atol=1e-4)


def test_an_unknown_property_is_like_none(case: Case) -> None:
    denoiser = make("conditioned")
    none = case.conditioning()._replace(properties=None)
    unknown = none._replace(properties=torch.full((len(case.z), 3), torch.nan))
    assert torch.equal(predict(denoiser, case, conditioning=unknown), predict(denoiser, case, conditioning=none))
