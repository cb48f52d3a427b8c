"""What the user of `finetune` asks for, and the settings that fit the number of own records."""

from dataclasses import dataclass, fields, replace
from pathlib import Path

from ligandsmith.config import UNLIMITED, Checked, setting
from ligandsmith.errors import LigandsmithError

LORA_TARGETS = ("all", "blocks", "attention")  # see `models.lora`
FEWEST = 5  # own records, of which one is held out


@dataclass(frozen=True)
class FinetuneOptions(Checked):
    """A fine-tuning run. None stands for what fits the number of own records, see `for_records`."""

    checkpoint: str = "small"
    data: Path | None = setting(None, "complexes: a prepared data set, a folder, or a CSV as `prepare` takes it")
    ligands: Path | None = setting(None, "instead: posed ligands of one protein, SDF or MOL2; with --protein")
    protein: Path | None = setting(None, "the protein of --ligands: PDB or mmCIF, also .gz")
    smiles: Path | None = setting(None, "instead: molecules without poses, one SMILES and optional name a line")
    lora: int | None = setting(None, "train an adapter of this rank instead of all weights", 1, 64)
    lora_targets: str = setting("all", "layers that get an adapter", choices=LORA_TARGETS)
    mix: float | None = setting(None, "share of other complexes and ligands in training, against forgetting", 0, 0.9)
    mix_data: Path | None = setting(None, "data set that they come from (default: the shipped one)")
    hold_out: float = setting(0.2, "share of the own records held out, if their data set has no validation split",
                              0, 0.5, open_low=True)  # fmt: skip
    steps: int | None = setting(None, "optimizer steps, at most", 1, UNLIMITED)
    minutes: float = setting(0.0, "minutes of training, at most, which the learning rate follows; 0: no limit",
                             0, UNLIMITED)  # fmt: skip
    learning_rate: float | None = setting(None, "peak learning rate", 0, 1e3, open_low=True)
    batch_size: int | None = setting(None, "records per step", 1, 100_000)
    patience: int | None = setting(None, "stop after N tests without a better loss on held-out records; 0: never",
                                   0, UNLIMITED)  # fmt: skip
    samples: int = setting(16, "ligands sampled before and after, for the report; 0: none", 0, 10_000)
    seed: int = setting(0, "random seed", 0, 2**63 - 1)
    workers: int = setting(1, "processes that prepare the data", 1, 4096)

    def sources(self) -> dict[str, Path]:
        """The flags that name own data, with their values."""
        given = {"--data": self.data, "--ligands": self.ligands, "--smiles": self.smiles}
        return {flag: path for flag, path in given.items() if path is not None}

    def require_one_source(self) -> None:
        """Raise LigandsmithError unless the own data are named in exactly one way."""
        sources = self.sources()
        if len(sources) != 1:
            found = " and ".join(sources) if sources else "none"
            raise LigandsmithError(
                f"name your data with one of --data, --ligands (and --protein), --smiles; got {found}"
            )
        if (self.ligands is None) != (self.protein is None):
            missing = "--protein is missing: the file that the ligands were posed in" if self.ligands else \
                "--protein goes with --ligands; complexes of --data have proteins of their own"  # fmt: skip
            raise LigandsmithError(missing)


@dataclass(frozen=True)
class Settings:
    """How to train on a number of own records."""

    learning_rate: float
    batch_size: int
    steps: int
    mix: float
    patience: int


BY_RECORDS = (  # up to this number of own records: settings for all weights, and for an adapter
    (100, Settings(2e-3, 4, 1000, 0.1, 8), Settings(3e-3, 8, 1000, 0.2, 8)),
    (1000, Settings(1e-3, 16, 3000, 0.3, 8), Settings(3e-3, 16, 3000, 0.3, 8)),
    (UNLIMITED, Settings(1e-3, 16, 8000, 0.3, 8), Settings(3e-3, 16, 8000, 0.3, 8)),
)


def for_records(options: FinetuneOptions, number: int) -> Settings:
    """The settings for a number of own records, with those that were given."""
    every, adapter = next((every, adapter) for limit, every, adapter in BY_RECORDS if number <= limit)
    found = every if options.lora is None else adapter
    given = {f.name: getattr(options, f.name) for f in fields(found)}
    return replace(found, **{name: value for name, value in given.items() if value is not None})
