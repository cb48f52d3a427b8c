"""The latent diffusion model: denoiser, size model and latent statistics, and the two VAEs that go with them."""

from torch import Tensor, nn

from ligandsmith.config import Config
from ligandsmith.diffusion.schedule import make_schedule
from ligandsmith.models.denoiser import Denoiser
from ligandsmith.models.latents import LatentStats
from ligandsmith.models.ligand_vae import LigandVAE
from ligandsmith.models.pocket_vae import PocketVAE
from ligandsmith.models.size import CUTS, FittedSizeModel, SizeModel
from ligandsmith.structure.vocabulary import Vocabulary


class DiffusionModel(nn.Module):
    """Denoiser, size model and latent statistics: what `diffusion_state` holds."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        z, p = config.ligand_vae.latent_width, config.pocket_vae.latent_width
        self.denoiser = Denoiser(config.denoiser, z, p, config.diffusion.prediction)
        self.size = SizeModel(p)
        fitted = CUTS if config.pocket.fitted_sizes else ()  # not trained here
        self.fitted_sizes = nn.ModuleDict({cut: FittedSizeModel(p) for cut in fitted}).eval().requires_grad_(False)
        self.stats = LatentStats(z)
        self.schedule = make_schedule(config.diffusion.schedule, config.diffusion.precision)

    def size_model(self, cut: str) -> SizeModel | FittedSizeModel:
        """The size model for a pocket that was cut in this way; the general one where none was fitted to it."""
        fitted: dict[str, FittedSizeModel] = dict(self.fitted_sizes.items())  # type: ignore[arg-type]
        return fitted.get(cut, self.size)

    def fragment(self, latent: Tensor, fixed: Tensor) -> Tensor:
        """Latents [B, N, Z] of a fragment by itself, normalised, zero where nothing is given."""
        return self.stats.normalise(latent.new_zeros(*fixed.shape, 3), latent, fixed)[..., 3:]


def build_vaes(config: Config, vocabulary: Vocabulary) -> nn.ModuleDict:
    """Untrained {"ligand": LigandVAE, "protein": PocketVAE}."""
    return nn.ModuleDict({
        "ligand": LigandVAE(config.ligand_vae, vocabulary), "protein": PocketVAE(config.pocket_vae, vocabulary)
    })  # fmt: skip
