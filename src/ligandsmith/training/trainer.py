"""The training loop: step, clip, average, validate, log, save, resume. It knows nothing about molecules.

A stage supplies the module and its part of the checkpoints.
"""

import logging
import math
import sys
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import Tensor
from tqdm import tqdm

from ligandsmith.checkpoints.files import load_checkpoint, refused_if_unfit, save_checkpoint
from ligandsmith.config import Config, OptimizerConfig, from_dict
from ligandsmith.diffusion import rng
from ligandsmith.errors import LigandsmithError
from ligandsmith.files import remove_all, write_json
from ligandsmith.options import TrainOptions
from ligandsmith.parallel.signals import handled_signals
from ligandsmith.predictions import LossReport
from ligandsmith.training.interruption import Interrupted, StopRequest
from ligandsmith.training.loaders import Loaders
from ligandsmith.training.loggers import LastingLogger, LoggedRun
from ligandsmith.training.losses import LEVEL, noise_level_means
from ligandsmith.training.microbatch import LossInputs, MicroBatches
from ligandsmith.training.optim import (
    average_state,
    learning_rate_factor,
    load_average_state,
    make_optimizer,
    moving_average,
)
from ligandsmith.training.options import Progress, Stage, file_names, logged_settings, own_files
from ligandsmith.training.plots import plot_losses

log = logging.getLogger("ligandsmith")
MAX_BAD_STEPS = 10
VALIDATION_SEED = 1_000_003


class Trainer:
    """Runs one stage on one process of possibly several. Limits and schedules by time follow `clock`, in seconds."""

    def __init__(
        self, stage: Stage, loaders: Loaders, options: TrainOptions, fabric: Fabric,
        clock: Callable[[], float] | None = None,  # default: time.monotonic
    ) -> None:  # fmt: skip
        self.stage, self.loaders, self.options, self.fabric = stage, loaders, options, fabric
        self.progress, self.clock = Progress(is_main=fabric.is_global_zero), clock or time.monotonic
        self.optimizer_config: OptimizerConfig = stage.config.optimizer
        self.best_name, self.epoch_name, self.plot_name = file_names(stage.kind)
        self.module = stage.module.to(fabric.device)
        if options.init_from is not None:
            start = load_checkpoint(options.init_from, (stage.kind,))
            with refused_if_unfit(options.init_from):
                stage.load_state_dict(start)
        optimizer = make_optimizer(self.module, self.optimizer_config, options.learning_rate)
        self.optimizer: Any = fabric.setup_optimizers(optimizer)
        self.average = moving_average(self.module, self.optimizer_config.ema_decay)
        self.bad_steps = 0
        self.earlier_minutes = 0.0  # of training before this process
        self.micro_batches = MicroBatches(fabric, self.module, options.pair_budget)
        self.ranks = (fabric.global_rank, fabric.world_size)
        per_epoch = math.ceil(len(loaders.train_sampler) / options.accumulate)
        self.total_steps = options.max_steps or per_epoch * options.num_epochs
        self.started = self.saved = self.clock()
        self.stop = StopRequest()
        self.logger: LastingLogger | None = None  # of the first process alone
        self.measured: dict[str, Any] = {}  # in a step, to be logged
        if options.resume:
            self._resume()

    def run(self) -> Progress:
        """Train to the end (or to a limit), leaving the best and the last checkpoint.

        Raises LigandsmithError, and KeyboardInterrupt after saving the position on Ctrl-C or SIGTERM.
        """
        self.options.run_dir.mkdir(parents=True, exist_ok=True)
        if self.fabric.is_global_zero:
            run_dir, step = self.options.run_dir, self.progress.step
            logged = LoggedRun(
                run_dir / "logs" / self.best_name, f"{run_dir.resolve().name}/{self.best_name}",
                logged_settings(self.stage.config, self.options), resumed=step > 0, step=step,
            )  # fmt: skip
            self.logger = LastingLogger(self.options.logger, logged)
            remove_all([half for name in own_files(self.stage.kind) for half in run_dir.glob(f"{name}.*.part")])
        p = self.progress
        try:
            with handled_signals(self.stop.note):
                ended = p.epoch > self.options.num_epochs or self._decisions()[1]
                while not ended:
                    ended = self._finish_epoch(completed=self._train_epoch())
        except Interrupted:
            self._save_last()
            raise KeyboardInterrupt(
                f"interrupted at epoch {p.epoch}, step {p.step}; continue with --resume auto"
            ) from None
        finally:
            self.loaders.end_workers()
            if self.logger is not None:
                self.logger.close()
        return p

    # -- one epoch ------------------------------------------------------------------------------------------------

    def _train_epoch(self) -> bool:
        """All remaining batches of the epoch; False if a limit ended it early (the position is saved)."""
        p = self.progress
        sampler = self.loaders.train_sampler
        sampler.epoch, sampler.start = p.epoch, p.batch
        self.module.train()
        shown = self.fabric.is_global_zero and log.isEnabledFor(logging.INFO)
        bar = tqdm(
            total=len(sampler), initial=p.batch, desc=f"Epoch {p.epoch}", disable=not shown,
            leave=False, mininterval=0.2 if sys.stderr.isatty() else 20.0,
        )  # fmt: skip
        with bar:  # closed before anything else is printed
            for batch, (weight, size) in zip(self.loaders.train, sampler.weights(), strict=True):
                last = p.batch + 1 == len(sampler)
                self._batch(batch, weight, size, step_now=(p.batch + 1) % self.options.accumulate == 0 or last)
                self._write("train", self.measured, p.step - 1)
                self.measured = {}
                p.batch += 1
                bar.update()
                bar.set_postfix_str(f"loss {p.loss_sum / max(p.molecules, 1):.4f}")
                if not last and p.batch % self.options.accumulate:
                    continue  # gradients wait for their step, and a checkpoint does not hold them
                stop, end, save = self._decisions()
                if stop:
                    raise Interrupted
                if not last and (end or save):
                    self._save_last()
                    if end:
                        return False
        return True

    def _batch(self, batch: Any, weight: Tensor, size: int, step_now: bool) -> None:
        """Gradients of one batch, and with `step_now` an optimizer step. `size` is that of the global batch."""
        p = self.progress
        inputs = self._inputs(batch, weight, self.options.seed, self._draw_number())
        place = f"epoch {p.epoch}, batch {p.batch}"
        report = self.micro_batches.backward(inputs, step_now, self.options.accumulate, place)
        total = float(self._mean(report.total))
        if math.isfinite(total):
            p.loss_sum += total * size
            p.molecules += size
        if step_now:
            self._step(report)

    def _inputs(self, batch: Any, weight: Tensor, seed: int, number: int) -> LossInputs:
        """A batch on the device, with the seeds of its molecules."""
        device = self.fabric.device
        batch = batch.to(device, non_blocking=True)
        return LossInputs(batch, *rng.step_seeds(seed, number, len(batch.ids), self.ranks, device), weight.to(device))

    def _mean(self, value: Tensor) -> Tensor:
        """Mean of a tensor over the processes."""
        reduced = self.fabric.all_reduce(value.detach().clone(), reduce_op="mean")
        assert isinstance(reduced, Tensor)
        return reduced

    def _draw_number(self) -> int:
        """Number of the batch in the run: the source of its noise."""
        return self.progress.epoch * 1_000_000 + self.progress.batch

    def _rate(self) -> float:
        factor = learning_rate_factor(self.progress.step, self._planned_steps(), self.optimizer_config)
        return self.options.learning_rate * factor

    def _minutes(self) -> float:
        """Training time of the run so far, including the processes that it was resumed from."""
        return self.earlier_minutes + (self.clock() - self.started) / 60

    def _planned_steps(self) -> int:
        """Steps that the learning-rate schedule spans. A schedule by time assumes the average speed so far."""
        if not self.options.schedule_minutes:
            return self.total_steps
        return math.ceil(max(self.progress.step, 1) * self.options.schedule_minutes / max(self._minutes(), 1e-3))

    def _step(self, report: LossReport) -> None:
        p = self.progress
        rate = self._rate()
        for group in self.optimizer.param_groups:
            group["lr"] = rate * group.get("lr_ratio", 1.0)
        norm = self.fabric.clip_gradients(
            self.module, self.optimizer, max_norm=self.optimizer_config.clip_norm, error_if_nonfinite=False
        )
        if norm is not None and not torch.isfinite(norm):
            self._skip(report)
        else:
            self.optimizer.step()
            self.average.update_parameters(self.module)
            self.bad_steps = 0
        self.optimizer.zero_grad(set_to_none=True)
        if self.logger is not None and p.step % 10 == 0:
            terms = {name: value for name, value in report.terms.items() if LEVEL not in name}
            self.measured = {**terms, "total": report.total, "gradient norm": norm, "learning rate": rate}
        p.step += 1

    def _skip(self, report: LossReport) -> None:
        """A non-finite gradient: leave the weights alone, count it, stop after ten in a row."""
        self.progress.skipped += 1
        self.bad_steps += 1
        terms = {name: float(value.detach()) for name, value in report.terms.items()}
        log.warning("step %d skipped: non-finite gradient; terms %s", self.progress.step, terms)
        if self.fabric.device.type == "cuda" and self.fabric._precision.precision == "16-mixed":
            self.optimizer.step()  # lets the gradient scaler lower its scale; it leaves the weights alone
        if self.bad_steps >= MAX_BAD_STEPS:
            bad = [name for name, value in terms.items() if not math.isfinite(value)]
            raise LigandsmithError(
                f"{MAX_BAD_STEPS} steps in a row had non-finite gradients (epoch "
                f"{self.progress.epoch}, step {self.progress.step}, non-finite loss terms: "
                f"{bad or 'none, only gradients'}); lower --learning_rate or turn mixed precision off with --no-use_amp"
            )

    # -- after an epoch -------------------------------------------------------------------------------------------

    @torch.no_grad()
    def validate(self, loaders: Loaders | None = None) -> dict[str, float]:
        """Mean of every term and the total over the validation split (of `loaders`; default: those of the run), with
        the averaged weights and fixed noise."""
        sums: dict[str, Tensor] = {}
        loaders = loaders or self.loaders
        sampler = loaders.validation_sampler
        records = sampler.always + sampler.extra
        averaged = self.average.module.eval()
        for number, (batch, (weight, size)) in enumerate(zip(loaders.validation, sampler.weights(), strict=True)):
            if self._decisions()[0]:
                raise Interrupted
            report = self.micro_batches.report(averaged, self._inputs(batch, weight, VALIDATION_SEED, number))
            for name, value in {**report.terms, "total": report.total}.items():
                sums[name] = sums.get(name, torch.zeros_like(value)) + size / records * self._mean(value)
        return noise_level_means({name: float(value) for name, value in sums.items()})

    def _finish_epoch(self, completed: bool) -> bool:
        """Validate, log, save; True if the run ends here. Unless `completed`, the position has been saved already."""
        p, o = self.progress, self.options
        if completed and p.epoch % o.validation_interval and p.epoch < o.num_epochs and not self._decisions()[1]:
            self._next_epoch()
            return False
        terms = self.validate()
        train_loss, val_loss = p.loss_sum / max(p.molecules, 1), terms["total"]
        losses = {"train_loss": train_loss, "test_loss": val_loss, "test_terms": terms}  # published keys
        p.history.append({"epoch": p.epoch, "step": p.step, **losses})
        if self.fabric.is_global_zero:
            log.info("Epoch %d: Train Loss = %.4f, Test Loss = %.4f", p.epoch, train_loss, val_loss)
            self._write("test", terms, p.step)
        better = val_loss < p.best
        if better:
            p.best, p.best_epoch = val_loss, p.epoch
        number = p.epoch
        if completed:
            self._next_epoch()
        ended = not completed or p.epoch > self.options.num_epochs or self._decisions()[1] or self._out_of_patience()
        if better:  # before the position, which would not come back to it
            self._save(self.options.run_dir / f"best_{self.best_name}.pt", number)
        if completed:
            self._save_last()
        if not math.isfinite(val_loss):
            self._require_usable(val_loss, ended)
        if number % self.options.save_interval == 0 or ended:
            self._save(self.options.run_dir / "checkpoints" / f"{self.epoch_name}_{number}.pt", number)
            if self.fabric.is_global_zero:
                plot_losses(p.history, self.options.run_dir / f"{self.plot_name}_{number}.png")
        if self.fabric.is_global_zero:
            write_json(self.options.run_dir / f"{self.best_name}_history.json", p.history)
        return ended

    def _require_usable(self, val_loss: float, ended: bool) -> None:
        """Raise LigandsmithError where the weights are lost, or a run ends without ever having had a test loss."""
        lost = not all(bool(torch.isfinite(p).all()) for p in self.average.module.parameters())
        if lost or (ended and not self.progress.best_epoch):
            best = self.progress.best_epoch
            kept = f"best_{self.best_name}.pt of epoch {best} is whole" if best else "nothing usable was trained"
            raise LigandsmithError(
                f"non-finite loss: the test loss is {val_loss} after step {self.progress.step}, {kept}; lower "
                f"--learning_rate (now {self.options.learning_rate:g}), or turn mixed precision off with --no-use_amp"
            )

    def _next_epoch(self) -> None:
        p = self.progress
        p.epoch, p.batch, p.loss_sum, p.molecules = p.epoch + 1, 0, 0.0, 0.0

    def _out_of_patience(self) -> bool:
        p, patience = self.progress, self.options.patience
        if not patience or not p.best_epoch or p.epoch - 1 - p.best_epoch < patience:
            return False
        log.info("Stopped early: no better test loss for %d epochs (--patience 0 turns this off)", patience)
        return True

    def _decisions(self) -> tuple[bool, bool, bool]:
        """Whether to stop (by a signal), to end (by a limit of steps or time), to save. The first process decides."""
        o, now = self.options, self.clock()
        end = bool(o.max_minutes) and now - self.started > 60 * o.max_minutes
        end = end or bool(o.max_steps and self.progress.step >= o.max_steps)
        end = end or bool(o.schedule_minutes and self._minutes() >= o.schedule_minutes)
        save = now - self.saved > 60 * o.save_minutes
        stop, end, save = self.fabric.broadcast((bool(self.stop.name), end, save))
        return stop, end, save

    def _write(self, part: str, values: dict[str, Any], step: int) -> None:
        if self.logger is not None and values:
            numbers = {
                f"{part}/{name}": float(value.detach() if isinstance(value, Tensor) else value)
                for name, value in values.items()
                if value is not None
            }
            self.logger.write(numbers, step)

    # -- checkpoints ----------------------------------------------------------------------------------------------

    def last_path(self) -> Path:
        """The checkpoint that `--resume auto` continues."""
        return self.options.run_dir / "checkpoints" / f"{self.epoch_name.removesuffix('_epoch')}_last.pt"

    def _save_last(self) -> None:
        self._save(self.last_path(), self.progress.epoch)
        self.saved = self.clock()

    def _save(self, path: Path, epoch: int) -> None:
        """Write everything that a resumed run needs. Only the first process writes."""
        p = self.progress
        if self.options.schedule_minutes:
            p.minutes = self._minutes()
        if self.fabric.is_global_zero:
            latest = p.history[-1] if p.history else {}
            scaler = getattr(self.fabric._precision, "scaler", None)
            content = {
                "kind": self.stage.kind,
                "epoch": epoch,
                "step": p.step,
                "config": asdict(self.stage.config),
                "optimizer_state": self.optimizer.state_dict(),
                "ema_state": average_state(self.average),
                "rng_state": torch.get_rng_state(),
                "train_loss": latest.get("train_loss", math.nan),
                "test_loss": latest.get("test_loss", math.nan),
                "history": p.history,
                "progress": {k: v for k, v in asdict(p).items() if k not in ("history", "is_main")},
                "run": self._identity(),
                **self.stage.state_dict(),
            }
            if scaler is not None:
                content["scaler_state"] = scaler.state_dict()
            save_checkpoint(path, content)
        self.fabric.barrier()

    def _identity(self) -> dict[str, int]:
        """What must not change when a run is resumed, besides the config."""
        sampler = self.loaders.train_sampler
        return {
            "seed": self.options.seed, "global_batch": sampler.global_batch, "accumulate": self.options.accumulate,
            "records": len(sampler.sizes),
        }  # fmt: skip

    def _resume(self) -> None:
        """Continue from a checkpoint of this stage; `auto` is the last one of the run, or a fresh start."""
        path = self.last_path() if self.options.resume == "auto" else Path(self.options.resume)
        if self.options.resume == "auto" and not path.exists():
            log.info("--resume auto: no %s; starting from the beginning", path)
            return
        content = load_checkpoint(path, (self.stage.kind,))
        saved = from_dict(Config, content["config"], str(path))  # fields that came later have their defaults
        if saved != self.stage.config:
            raise LigandsmithError(f"{path}: made with another config; resume with the same preset and overrides")
        with refused_if_unfit(path):
            changed = [
                f"{k.replace('_', ' ')} {content['run'][k]}, now {v}"
                for k, v in self._identity().items()
                if content["run"].get(k, v) != v
            ]
            if changed:
                raise LigandsmithError(
                    f"{path}: made with {'; '.join(changed)}; resume with the same, or start another run"
                )
            self._restore(content)
        self._take_best_along(path)
        log.info("Resumed %s at epoch %d, step %d", path, self.progress.epoch, self.progress.step)

    def _take_best_along(self, last: Path) -> None:
        """Copy the best checkpoint of a run that is resumed in another folder. Where it is not to be found, the best of
        the epochs that follow will be the best one; raises LigandsmithError if none follows."""
        p, best = self.progress, self.options.run_dir / f"best_{self.best_name}.pt"
        theirs = last.resolve().parent.parent / best.name
        if self.fabric.is_global_zero and p.best_epoch and not best.exists() and theirs.is_file():
            content = load_checkpoint(theirs, (self.stage.kind,))
            if content["epoch"] == p.best_epoch:
                save_checkpoint(best, content)
        if self.fabric.broadcast(best.exists()):
            return
        p.best, p.best_epoch = math.inf, 0
        if p.epoch > self.options.num_epochs:
            raise LigandsmithError(
                f"{last}: the run has ended (epoch {p.epoch - 1} of {self.options.num_epochs}), and its {best.name} is "
                f"not in {self.options.run_dir}; copy it there, or give a higher --num_epochs"
            )

    def _restore(self, content: dict[str, Any]) -> None:
        """Take up what a checkpoint holds."""
        self.stage.load_state_dict(content)
        self.optimizer.load_state_dict(content["optimizer_state"])
        load_average_state(self.average, content["ema_state"])
        torch.set_rng_state(content["rng_state"])
        scaler = getattr(self.fabric._precision, "scaler", None)
        if "scaler_state" in content and scaler is not None:
            scaler.load_state_dict(content["scaler_state"])
        position = content["progress"]
        # A limit that ended a run within an epoch left a row for a part of it; the epoch's own row comes at its end.
        history = [row for row in content["history"] if row["epoch"] < position["epoch"]]
        self.progress = Progress(**position, history=history, is_main=self.fabric.is_global_zero)
        self.earlier_minutes = self.progress.minutes
