"""Fine-tuning: own data -> weights or an adapter, with a report of before and after. Interrupted, it continues."""

import hashlib
import logging
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from lightning_fabric import Fabric

from ligandsmith.checkpoints.adapter import save_adapter
from ligandsmith.checkpoints.export import slim
from ligandsmith.checkpoints.files import fingerprint, load_checkpoint, save_checkpoint
from ligandsmith.config import UNLIMITED
from ligandsmith.data.dataset import MANIFEST, Split
from ligandsmith.errors import LigandsmithError
from ligandsmith.files import changes, earlier_record, file_hash, held_alone, refuse_other, remove_all, write_json
from ligandsmith.finetuning.loaders import finetuning_loaders
from ligandsmith.finetuning.options import FinetuneOptions, Settings, for_records
from ligandsmith.finetuning.records import OwnRecords, RecordList, other_records, own_records, prepared_data
from ligandsmith.finetuning.report import compared_samples, own_numbers, report_lines
from ligandsmith.finetuning.sizes import size_shifts
from ligandsmith.finetuning.stage import FinetuneStage, seeded_stage
from ligandsmith.generation.generator import LigandGenerator, read_denoiser
from ligandsmith.options import Hardware, TrainOptions
from ligandsmith.training.hardware import make_fabric
from ligandsmith.training.latent_cache import encoded_pockets
from ligandsmith.training.loaders import Loaders
from ligandsmith.training.optim import load_average_state
from ligandsmith.training.trainer import Trainer

log = logging.getLogger("ligandsmith")
RECORD, WEIGHTS, ADAPTER_FILE, DATA, TRAINING = (
    "finetune.json", "denoiser.pt", "adapter.safetensors", "data", "training",
)  # fmt: skip
OWN_FILES = (RECORD, WEIGHTS, ADAPTER_FILE, DATA, TRAINING, "before.sdf", "after.sdf")
MOST_TESTED = 64  # other validation records
Content = dict[str, Any]


def finetune(
    options: FinetuneOptions, out: Path, hardware: Hardware | None = None, overwrite: bool = False,
    clock: Callable[[], float] = time.monotonic,
) -> Content:  # fmt: skip
    """Fine-tune a checkpoint on own data in the folder `out`; returns what `finetune.json` holds.

    `denoiser.pt` is what `generate --checkpoint` takes; with `lora`, `adapter.safetensors` is what it takes as
    `--adapter`. A run that was interrupted continues. `clock` (seconds) is what `minutes` are measured by.
    Raises LigandsmithError.
    """
    options.require_one_source()
    content, base = read_denoiser(options.checkpoint)
    with held_alone(out):
        record = _record_of(out, options, base, overwrite)
        if "after" in record:
            return record
        write_json(out / RECORD, record)  # first, so that what follows is known for its own
        try:
            run = _Run(options, out, hardware or Hardware(), content, record, clock)
        except LigandsmithError:
            if set(record) == {"identity"}:
                remove_all([out / RECORD, out / DATA])
            raise
        run.run()
    return record


def _record_of(out: Path, options: FinetuneOptions, base: str, overwrite: bool) -> Content:
    """The record of an earlier run of the same request, or a new one. Raises LigandsmithError for another's."""
    identity = _identity(options, base)
    earlier = earlier_record(out / RECORD)
    changed = changes((earlier or {}).get("identity"), identity)
    refuse_other(out, OWN_FILES, changed, overwrite, what="a fine-tuning")
    return earlier if earlier is not None and not changed and changed is not None else {"identity": identity}


def _identity(options: FinetuneOptions, base: str) -> Content:
    """What decides the weights, as plain values. Raises LigandsmithError for files that are missing."""
    for flag, path in {**options.sources(), "--protein": options.protein}.items():
        if path is not None and not path.exists():
            raise LigandsmithError(f"{flag} {path}: no such file or folder")
    files = [options.ligands, options.protein, options.smiles, options.data and options.data / MANIFEST]
    hashes = [file_hash(p) for p in files if p is not None and p.is_file()]
    values = asdict(options) | {"workers": 1}
    data = hashlib.sha256(repr(hashes).encode()).hexdigest()[:16]
    return {"base": base, "files": data, **{k: str(v) if isinstance(v, Path) else v for k, v in values.items()}}


class _Run:
    """One run in its folder."""

    def __init__(
        self, options: FinetuneOptions, out: Path, hardware: Hardware, content: Content, record: Content,
        clock: Callable[[], float],
    ) -> None:  # fmt: skip
        self.options, self.out, self.content, self.record, self.clock = options, out, content, record, clock
        self.fabric: Fabric = make_fabric(hardware)
        self.stage: FinetuneStage = seeded_stage(content, options)
        self.stage.training.move_frozen(self.fabric.device)
        folder = prepared_data(options, out / DATA)
        self.own: OwnRecords = own_records(folder, options, self.stage.vocabulary.ligand_elements)
        self.settings: Settings = for_records(options, len(self.own.train))
        log.info(
            "%d own records for training, %d held out; %s", len(self.own.train), len(self.own.held_out), self.settings
        )

    def run(self) -> None:
        """Report, train, report again, writing each as it comes."""
        self._write(
            own={
                "train": len(self.own.train), "held_out": len(self.own.held_out),
                "held_out_ids": [r.id for r in self.own.held_out], **own_numbers(self.own.train, self.own.held_out),
            },
            settings=asdict(self.settings),
        )  # fmt: skip
        others = other_records(self.options, self.own)
        tested = RecordList(other_records(self.options, self.own, Split.VALIDATION)[:MOST_TESTED])
        if "sampled_before" not in self.record:  # ahead of the training loop, whose time begins when it is made
            self._write(sampled_before=self._sampled(self._generator(self.content), "before"))
        trainer, loaders = self._trainer(others, tested)
        if "before" not in self.record:
            self._write(before=self._losses(trainer, loaders) | self.record["sampled_before"])
        try:
            trainer.run()
        except KeyboardInterrupt:
            raise KeyboardInterrupt("interrupted; the same command continues") from None
        self._finish(trainer, loaders)

    def _trainer(self, others: RecordList, tested: RecordList) -> tuple[Trainer, dict[str, Loaders]]:
        """The training loop, at the position of an earlier run if there is one, and the loaders of each loss."""
        own, settings, o = self.own, self.settings, self.options
        mixed = others if settings.mix else RecordList()
        every = RecordList([*own.train, *own.held_out, *mixed, *tested])
        latents = encoded_pockets(self.stage.pocket_vae, every, self.stage.vocabulary, self.fabric.device)
        loaders = {
            name: finetuning_loaders(self.stage, OwnRecords(own.train, tests), mixed, settings, o.seed, latents)
            for name, tests in (("held_out", own.held_out), ("others", tested))
        }
        folder = self.out / TRAINING
        there = (folder / "checkpoints" / "denoiser_last.pt").exists()
        train = TrainOptions(
            run_dir=folder, learning_rate=settings.learning_rate, num_epochs=UNLIMITED,
            save_interval=UNLIMITED, seed=o.seed, patience=settings.patience, resume="auto" if there else "",
            max_steps=settings.steps if o.steps or not o.minutes else 0, schedule_minutes=o.minutes,
        )  # fmt: skip
        trainer = Trainer(self.stage, loaders["held_out"], train, self.fabric, self.clock)
        return trainer, loaders

    def _generator(self, content: Content) -> LigandGenerator:
        return LigandGenerator(content, "", self.fabric.device.type)

    def _losses(self, trainer: Trainer, loaders: dict[str, Loaders]) -> Content:
        return {f"loss_{name}": trainer.validate(part)["total"] for name, part in loaders.items()}

    def _finish(self, trainer: Trainer, loaders: dict[str, Loaders]) -> None:
        """The best state by the loss on held-out records, as weights and adapter, and the second report."""
        best = load_checkpoint(self.out / TRAINING / "best_denoiser.pt", (self.stage.kind,))
        load_average_state(trainer.average, best["ema_state"])
        losses = self._losses(trainer, loaders)
        before = self.record["before"]
        if losses["loss_held_out"] >= before["loss_held_out"]:
            log.warning("the loss on held-out records did not fall; try a lower --learning_rate, or more records")
        about = {"records": str(len(self.own.train)), "steps": str(best["step"])}
        if self.options.lora is not None:
            about |= {"rank": str(self.options.lora), "targets": self.options.lora_targets}
        state, adapter = self.stage.tuned_state(trainer.average.module, about)
        tuned = slim(self.content) | {
            "diffusion_state": state, "epoch": best["epoch"], "step": best["step"],
            "test_loss": losses["loss_held_out"], "train_loss": best["train_loss"], "history": best["history"],
        }  # fmt: skip
        shifts = {n: s.half().float() for n, s in size_shifts(self._generator(tuned), self.own.train).items()}
        tuned["diffusion_state"] = state | {name: state[name] + shift for name, shift in shifts.items()}
        save_checkpoint(self.out / WEIGHTS, tuned)
        if adapter is not None:
            save_adapter(self.out / ADAPTER_FILE, replace(adapter, shifts=shifts))
        made = self._sampled(self._generator(tuned), "after")
        self._write(
            steps=trainer.progress.step, best_step=best["step"], fingerprint=fingerprint(tuned["diffusion_state"]),
            after=losses | made,
        )  # fmt: skip

    def _sampled(self, generator: LigandGenerator, name: str) -> Content:
        """Numbers of ligands that are sampled in held-out pockets, or in other ones where no own record has any."""
        if not self.options.samples:
            return {}
        sites = [r for r in self.own.held_out if r.pocket is not None]
        if not sites:
            others = other_records(self.options, self.own, Split.VALIDATION)
            sites = [r for r in others if r.pocket is not None]
        request = self.options.samples, self.options.seed
        return compared_samples(generator, sites, self.own, request, self.out / f"{name}.sdf")

    def _write(self, **values: Any) -> None:
        self.record |= values
        write_json(self.out / RECORD, self.record)


def summary(record: Content) -> list[str]:
    """What a run found, as lines of text."""
    own = record["own"]
    lines = [
        f"{own['train']} own records, {own['held_out']} held out; {record['steps']} steps, best after "
        f"{record['best_step']}"
    ]
    return lines + report_lines(record["before"], record["after"], own)
