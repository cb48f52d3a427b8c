"""Contracts of the equivariant blocks: what a network may rely on, whichever block it is built from."""

from dataclasses import dataclass

import pytest
import torch
from networks import Basis64
from rdkit import Chem
from rdkit.Chem import AllChem
from torch import Tensor, nn

from ligandsmith.config import BlockConfig
from ligandsmith.diffusion.process import real_pairs
from ligandsmith.models.backbones import BLOCKS
from ligandsmith.models.layers import (
    RADIAL_SIZE,
    Edges,
    EqAttnBlock,
    RadialBasis,
    RadialLinear,
    dense_edges,
    gathered_edges,
    nearest,
    soft_clip,
)

WIDTH, EDGE, CONDITION = 24, 16, 6
SMILES = ("CC(=O)Nc1ccc(O)cc1", "C[C@H](N)C(=O)O")  # paracetamol and L-alanine: different sizes, one chiral


@dataclass
class Molecules:
    """Scalars [B, N, D], coordinates [B, N, 3] Å and mask [B, N] of padded molecules, and a condition [B, 1, C]."""

    s: Tensor
    x: Tensor
    mask: Tensor
    condition: Tensor


@pytest.fixture(scope="module")
def molecules() -> Molecules:
    """Heavy atoms of two conformers, in float64."""
    conformers = []
    for smiles in SMILES:
        mol = Chem.AddHs(Chem.MolFromSmiles(smiles))
        AllChem.EmbedMolecule(mol, randomSeed=7)
        heavy = Chem.RemoveHs(mol)
        conformers.append(torch.from_numpy(heavy.GetConformer().GetPositions()))
    x = nn.utils.rnn.pad_sequence(conformers, batch_first=True)
    lengths = torch.tensor([len(c) for c in conformers])
    mask = torch.arange(x.shape[1]) < lengths.unsqueeze(1)
    generator = torch.Generator().manual_seed(1)
    s = torch.randn(*mask.shape, WIDTH, generator=generator, dtype=torch.float64) * mask.unsqueeze(-1)
    return Molecules(s, x, mask, torch.randn(2, 1, CONDITION, generator=generator, dtype=torch.float64))


@pytest.fixture
def full_precision(monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks leave fp64 alone: `float()` is what keeps coordinates in fp32 under mixed precision."""
    monkeypatch.setattr(Tensor, "float", lambda self: self)


class Network(nn.Module):
    """Two blocks that move atoms, as every network of the package chains them."""

    def __init__(self, name: str, chiral: bool = True, leak: bool = False) -> None:
        super().__init__()
        torch.manual_seed(0)
        config = BlockConfig(WIDTH, EDGE, channels=4, condition_width=CONDITION, chiral=chiral)
        self.blocks = nn.ModuleList(BLOCKS[name](config) for _ in range(2))
        self.pair = RadialLinear(EDGE)
        self.basis = Basis64()
        self.leak = leak
        for p in self.parameters():  # every path open: gates and modulations that start at zero too
            nn.init.normal_(p, std=0.3)
        self.double()

    def forward(self, m: Molecules, index: Tensor | None = None) -> tuple[Tensor, Tensor, Tensor]:
        """-> (scalars, coordinates, edge state) of the real atoms' slots."""
        s, x, state = m.s, m.x, None
        if self.leak:
            s = s + m.x.sum(-1, keepdim=True)
        for block in self.blocks:
            edges = self.edges(x, m.mask, index)
            state = self.pair(edges.radial) if state is None else state
            s, move, state = block(s, None, edges, state, m.condition)
            x = x + move * m.mask.unsqueeze(-1)
        return s * m.mask.unsqueeze(-1), x, state

    def edges(self, x: Tensor, mask: Tensor, index: Tensor | None) -> Edges:
        if index is None:
            return dense_edges(x, mask, self.basis)
        own = torch.arange(x.shape[1]).view(1, -1, 1)
        pair = mask.unsqueeze(2) & mask.gather(1, index.flatten(1)).view(index.shape) & (index != own)
        return gathered_edges(x, x, index, pair, self.basis)


def rotation(reflect: bool = False) -> Tensor:
    """A random orthogonal matrix of determinant 1, or -1."""
    q, _ = torch.linalg.qr(torch.randn(3, 3, generator=torch.Generator().manual_seed(3), dtype=torch.float64))
    return q * torch.linalg.det(q) * (-1 if reflect else 1)


def moved(m: Molecules, matrix: Tensor, shift: float = 0.0) -> Molecules:
    """The molecules after an orthogonal map and a translation in Å."""
    return Molecules(m.s, m.x @ matrix.T + shift, m.mask, m.condition)


def symmetry_error(network: Network, m: Molecules, matrix: Tensor, shift: float) -> float:
    """Largest difference between mapping the input and mapping the output."""
    s, x, _ = network(m)
    s_moved, x_moved, _ = network(moved(m, matrix, shift))
    expected = x @ matrix.T + shift
    return max((s_moved - s).abs().max().item(), ((x_moved - expected) * m.mask.unsqueeze(-1)).abs().max().item())


every_block = pytest.mark.parametrize("name", list(BLOCKS))


@every_block
@pytest.mark.usefixtures("full_precision")
class TestSymmetry:
    def test_rotation_and_translation(self, name: str, molecules: Molecules) -> None:
        assert symmetry_error(Network(name), molecules, rotation(), 4.2) < 1e-9

    def test_leak_of_absolute_coordinates_is_caught(self, name: str, molecules: Molecules) -> None:
        assert symmetry_error(Network(name, leak=True), molecules, rotation(), 4.2) > 1e-3

    def test_atoms_move(self, name: str, molecules: Molecules) -> None:
        """The other tests would pass for a block that does nothing."""
        _, x, _ = Network(name)(molecules)
        assert ((x - molecules.x).norm(dim=-1)[molecules.mask] > 1e-3).all()

    def test_permutation(self, name: str, molecules: Molecules) -> None:
        order = torch.randperm(molecules.mask.shape[1], generator=torch.Generator().manual_seed(5))
        m = molecules
        shuffled = Molecules(m.s[:, order], m.x[:, order], m.mask[:, order], m.condition)
        network = Network(name)
        s, x, state = network(m)
        s_shuffled, x_shuffled, state_shuffled = network(shuffled)
        real = m.mask[:, order]
        torch.testing.assert_close(s_shuffled, s[:, order], rtol=0, atol=1e-9)
        torch.testing.assert_close(x_shuffled[real], x[:, order][real], rtol=0, atol=1e-9)
        pairs = real.unsqueeze(2) & real.unsqueeze(1)
        torch.testing.assert_close(state_shuffled[pairs], state[:, order][:, :, order][pairs], rtol=0, atol=1e-9)

    def test_reflection_is_seen_only_by_a_chiral_block(self, name: str, molecules: Molecules) -> None:
        mirror = rotation(reflect=True)
        assert symmetry_error(Network(name, chiral=False), molecules, mirror, 0.0) < 1e-9
        if name == "egnn":  # sums of distances: it has no chiral mode
            return
        assert symmetry_error(Network(name, chiral=True), molecules, mirror, 0.0) > 1e-3


@every_block
@pytest.mark.usefixtures("full_precision")
class TestIndependence:
    def test_padding_and_batch_mates_change_nothing(self, name: str, molecules: Molecules) -> None:
        network, m = Network(name), molecules
        s, x, _ = network(m)
        n = int(m.mask[1].sum())
        s_alone, x_alone, _ = network(Molecules(m.s[1:, :n], m.x[1:, :n], m.mask[1:, :n], m.condition[1:]))
        torch.testing.assert_close(s[1:, :n], s_alone, rtol=0, atol=1e-12)
        torch.testing.assert_close(x[1:, :n], x_alone, rtol=0, atol=1e-12)

    def test_content_of_the_padding_is_not_read(self, name: str, molecules: Molecules) -> None:
        network, m = Network(name), molecules
        hidden = ~m.mask.unsqueeze(-1)
        s, x, _ = network(m)
        s_other, x_other, _ = network(Molecules(m.s + 5 * hidden, m.x + 3 * hidden, m.mask, m.condition))
        torch.testing.assert_close(s_other[m.mask], s[m.mask], rtol=0, atol=1e-12)
        torch.testing.assert_close(x_other[m.mask], x[m.mask], rtol=0, atol=1e-12)

    def test_gathering_all_atoms_equals_the_dense_path(self, name: str, molecules: Molecules) -> None:
        network, m = Network(name), molecules
        n = m.mask.shape[1]
        index = torch.arange(n).flip(0).expand(2, n, n)  # any order of the neighbours
        s, x, _ = network(m)
        s_gathered, x_gathered, _ = network(m, index)
        torch.testing.assert_close(s_gathered, s, rtol=0, atol=1e-10)
        torch.testing.assert_close(x_gathered[m.mask], x[m.mask], rtol=0, atol=1e-10)


@every_block
def test_a_shared_key_set_equals_repeated_key_sets(name: str, molecules: Molecules) -> None:
    """A pocket encoded once and read by several noised ligands gives what a copy of it for each would."""
    torch.manual_seed(0)
    block = BLOCKS[name](BlockConfig(WIDTH, EDGE, channels=4))
    pair_embedding, basis = RadialLinear(EDGE), RadialBasis()
    s, x, mask = molecules.s.float(), molecules.x.float(), molecules.mask
    queries, places = torch.randn(4, 5, WIDTH), torch.randn(4, 5, 3)
    outputs = []
    for repeats in (1, 2):  # two key sets for four queries, or one for each
        keys_s, keys_x, keys_mask = (t.repeat_interleave(repeats, 0) for t in (s, x, mask))
        index, near = nearest(places, torch.ones(4, 5, dtype=torch.bool), keys_x, keys_mask, 4)
        edges = gathered_edges(places, keys_x, index, near, basis)
        outputs.append(block(queries, block.project(keys_s), edges, pair_embedding(edges.radial)))
    for shared, repeated in zip(*outputs, strict=True):
        torch.testing.assert_close(shared, repeated)


@every_block
def test_gradients_are_finite_at_coincident_atoms(name: str, molecules: Molecules) -> None:
    block = BLOCKS[name](BlockConfig(WIDTH, EDGE))
    x = molecules.x.float().clone()
    x[:, 1] = x[:, 0]
    s = molecules.s.float().requires_grad_()
    x.requires_grad_()
    edges = dense_edges(x, molecules.mask, RadialBasis())
    out, move, pair = block(s, None, edges, torch.zeros(*edges.distance.shape, EDGE))
    (out.square().sum() + move.square().sum() + pair.square().sum()).backward()
    gradients = [s.grad, x.grad, *(p.grad for p in block.parameters() if p.grad is not None)]
    assert all(torch.isfinite(g).all() for g in gradients if g is not None)
    assert x.grad is not None
    assert x.grad.abs().max() > 0


@every_block
def test_moves_stay_within_their_limit(name: str, molecules: Molecules) -> None:
    """Whatever the weights are, one block moves no atom by more than `max_move`."""
    block = BLOCKS[name](BlockConfig(WIDTH, EDGE, max_move=0.5))
    for p in block.parameters():
        nn.init.normal_(p, std=3.0)
    edges = dense_edges(molecules.x.float(), molecules.mask, RadialBasis())
    _, move, _ = block(molecules.s.float(), None, edges, torch.zeros(*edges.distance.shape, EDGE))
    length = move.norm(dim=-1)
    assert 0.4 < length.max() <= 0.5
    torch.testing.assert_close(
        soft_clip(torch.tensor([1e-4, 0.0, 0.0]), 0.5), torch.tensor([1e-4, 0, 0]), rtol=0.01, atol=0
    )


@torch.no_grad()
def test_the_triangle_update_is_the_sum_written_out() -> None:
    torch.manual_seed(0)
    block = EqAttnBlock(BlockConfig(WIDTH, EDGE, triangles=3))
    triangle = block.triangle
    assert triangle is not None
    nn.init.normal_(triangle.out.weight)
    n, real = 5, 4
    edge, mask = torch.randn(1, n, n, EDGE), real_pairs(torch.arange(n).view(1, -1) < real)
    first, second = triangle.sides(edge).chunk(2, -1)
    _, _, a, b = block._edge_projections(edge, triangle)
    found = triangle(a, b, mask)
    for i, j in ((0, 1), (2, 3), (1, 0)):
        between = [k for k in range(real) if k not in (i, j)]
        paths = sum(first[0, i, k] * second[0, k, j] for k in between)
        expected = triangle.out(triangle.norm(paths / (real - 1) ** 0.5))
        assert torch.allclose(found[0, i, j], expected, atol=1e-5)


@torch.no_grad()
@pytest.mark.parametrize("count", [1, 2])
@pytest.mark.parametrize("use_table", [False, True])
def test_a_radial_linear_layer_is_that_of_the_concatenation(count: int, use_table: bool) -> None:
    """A missing last basis counts as zero; features come first."""
    torch.manual_seed(0)
    exact, basis = RadialBasis(), RadialBasis()
    basis.use_table = use_table
    layer, features = RadialLinear(EDGE, features=5, radials=2), torch.randn(2, 3, 3, 5)
    distances = [torch.rand(2, 3, 3) * 14 for _ in range(2)]
    values = [exact.exact(d) * (number < count) for number, d in enumerate(distances)]
    expected = nn.functional.linear(torch.cat([features, *values], -1), layer.weight, layer.bias)
    found = layer(*[basis(d) for d in distances[:count]], features=features)
    torch.testing.assert_close(found, expected, rtol=0, atol=2e-3 if use_table else 1e-5)
    assert layer.weight.shape == (EDGE, 5 + 2 * RADIAL_SIZE)


def test_checkpoints_with_the_former_names_of_the_triangle_update_load() -> None:
    block, other = (EqAttnBlock(BlockConfig(WIDTH, EDGE, triangles=3)) for _ in range(2))
    old = {name.replace("triangle.", "triangle_"): value for name, value in block.state_dict().items()}
    assert "triangle_sides.weight" in old
    other.load_state_dict(old)
    assert all(torch.equal(v, other.state_dict()[k]) for k, v in block.state_dict().items())
