"""Options of a run that are not part of the model, as dataclasses. The command line makes its flags from them."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ligandsmith.config import SAMPLER_NAMES, UNLIMITED, Checked, setting

DEVICES = ("cuda", "mps", "cpu")


@dataclass(frozen=True)
class DataOptions(Checked):
    """Where the records come from and how they are batched."""

    data: Path | str | None = setting(
        None, "data set folder, its URI on an object store, or a CrossDocked2020 .lmdb (default: the shipped data set)"
    )
    cache_dir: Path | None = setting(None, "copies of shards of an object store (default: ~/.cache/ligandsmith)")
    cache_size: float = setting(10.0, "limit of these copies, GB", 0, UNLIMITED, open_low=True)
    split_file: Path | None = setting(None, "split file of a CrossDocked2020 .lmdb")
    batch_size: int = setting(16, "complexes per process and step", 1, 100_000)
    num_workers: int = setting(4, "data loading workers", 0, 4096)
    seed: int = setting(0, "random seed", 0, 2**63 - 1)
    ligand_only: bool = setting(True, "also train on ligands without a pocket")
    limit: int = setting(0, "use only the first N complexes of each split; 0: all", 0, UNLIMITED)
    ligands_per_complex: float = setting(
        1.0, "ligands without a pocket per complex and epoch, if the data set has them", 0, 1e6, open_low=True
    )
    static_shapes: bool = setting(False, "batches of like composition, padded to few shapes, for CUDA graphs")

    @property
    def is_lmdb(self) -> bool:
        """Whether `data` is a file of CrossDocked2020."""
        return isinstance(self.data, Path) and self.data.suffix == ".lmdb"


@dataclass(frozen=True)
class TrainOptions(Checked):
    """How long to train, where to write, and what to start from."""

    run_dir: Path = setting(Path(), "folder of everything that is written (default: the current folder)")
    learning_rate: float = setting(1e-4, "peak learning rate", 0, 1e3, open_low=True)
    num_epochs: int = setting(100, "maximum number of epochs", 1, UNLIMITED)
    save_interval: int = setting(10, "epochs between numbered checkpoints", 1, UNLIMITED)
    seed: int = setting(0, "random seed", 0, 2**63 - 1)
    max_steps: int = setting(0, "stop after N optimizer steps; 0: no limit", 0, UNLIMITED)
    max_minutes: float = setting(0.0, "stop after N minutes and save the position; 0: no limit", 0, UNLIMITED)
    schedule_minutes: float = setting(
        0.0, "training time that the learning-rate schedule spans, minutes; 0: it follows the steps", 0, UNLIMITED
    )
    save_minutes: float = setting(
        5.0, "minutes between saves of the position within an epoch", 0, UNLIMITED, open_low=True
    )
    accumulate: int = setting(1, "batches per optimizer step", 1, UNLIMITED)
    pair_budget: int = setting(
        0, "maximum number of atom pairs at a time; larger batches run in micro-batches; 0: no limit", 0, 2**62
    )
    patience: int = setting(0, "stop after N epochs without a better test loss; 0: never", 0, UNLIMITED)
    validation_interval: int = setting(1, "epochs between validations", 1, UNLIMITED)
    resume: str = setting("", "checkpoint to continue exactly, or auto: the last one of the run folder")
    init_from: Path | None = setting(None, "checkpoint whose weights a new run starts from (fine-tuning)")
    logger: str = setting(
        "tensorboard", "where losses are written besides the run's own files",
        choices=("tensorboard", "wandb", "mlflow", "none"),
    )  # fmt: skip
    overwrite: bool = setting(False, "replace an earlier run of this model in --run_dir, which is refused otherwise")


@dataclass(frozen=True)
class Hardware(Checked):
    """Where a run computes."""

    device: str = setting("cuda", "cuda, mps (Apple) or cpu; without a GPU the CPU is used", choices=DEVICES)
    use_amp: bool = setting(True, "mixed precision on a GPU")
    num_gpus: int = setting(1, "processes: one per GPU, or on the CPU", 1, 4096)
    num_nodes: int = setting(1, "machines, started by torchrun or Slurm", 1, 100_000)
    threads: int = setting(0, "CPU threads per process; 0: OMP_NUM_THREADS, else all cores, shared by the processes",
                           0, 4096)  # fmt: skip
    gradient_checkpointing: bool = setting(False, "less memory, about a third more time")
    cpu_bf16: bool = setting(False, "mixed precision on a CPU with bfloat16 arithmetic")


@dataclass(frozen=True)
class GenerationOptions(Checked):
    """What to generate. None means the checkpoint's own setting; their limits are those of `SamplingConfig`."""

    num: int = setting(100, "number of ligands, for each pocket", 1, UNLIMITED)
    num_atoms: str | None = setting(None, "heavy atoms: a number or a range like 18-26 (default: the size model)")
    steps: int | None = None
    sampler: str | None = setting(None, "sampler of the diffusion process", choices=SAMPLER_NAMES)
    cfg_scale: float | None = None
    cfg_scale_x: float | None = None
    autoguidance: float | None = None
    churn: float | None = None
    noise_scale: float | None = None
    noise_scale_h: float | None = None
    candidates: int | None = None
    repulsion: float | None = None
    relax: bool | None = None
    qed: float | None = None  # NaN: any value, whatever the checkpoint's setting is
    sa: float | None = None
    logp: float | None = None
    usual_qed: float | None = None
    usual_sa: float | None = None
    fix: Any = setting(None, "fragment that every ligand contains, in the protein's coordinates: SDF file or RDKit Mol")
    grow_from: tuple[int, ...] | None = setting(
        None, "atoms of the fragment that may get new bonds, by number in the file"
    )
    constraints: Any = setting(None, "what every ligand must and must not be: design.Constraints")
    batch_size: int = setting(100, "ligands at a time; changes them by rounding only", 1, 100_000)
    seed: int = setting(0, "random seed", 0, 2**63 - 1)
    add_hs: bool = setting(False, "write hydrogens")
