"""Where the losses of a training run are written besides its own files: TensorBoard, Weights & Biases or MLflow.

A logger is a class with `write` and `close` and its line in `LOGGERS`.
"""

import logging
import os
import secrets
import time
from collections.abc import Callable, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple, Protocol, TypeVar

from ligandsmith.errors import LigandsmithError, one_line
from ligandsmith.files import write_text

log = logging.getLogger("ligandsmith")
T = TypeVar("T")
PROJECT = "ligandsmith"  # of Weights & Biases, and experiment of MLflow
RUN_ID = "{}_run.txt"  # in the run's log folder: the name by which a service knows the run
PACKAGES = {"tensorboard": "tensorboard", "wandb": "wandb", "mlflow": "mlflow"}  # what each logger imports


class LoggedRun(NamedTuple):
    """What a logger knows of a run when it is opened."""

    folder: Path  # of this model's logs
    name: str
    settings: Mapping[str, Any]  # configuration and options, by "section.key"
    resumed: bool = False
    step: int = 0  # from which it goes on

    def kept_id(self, service: str) -> tuple[str, bool]:
        """The id of the run at a service, and whether an earlier start had it: a run that is resumed keeps its id."""
        path = self.folder / RUN_ID.format(service)
        if self.resumed and path.is_file():
            return path.read_text(encoding="utf-8").strip(), True
        return secrets.token_hex(8), False

    def keep_id(self, service: str, id: str) -> None:
        """Store the id for later starts."""
        write_text(self.folder / RUN_ID.format(service), f"{id}\n")


class Logger(Protocol):
    """Takes the numbers of a run."""

    def write(self, values: Mapping[str, float], step: int) -> None:
        """Add numbers by name, like "train/total", at an optimizer step."""

    def close(self) -> None:
        """Write what is still in memory."""


class TensorBoardLogger:
    """Event files in `logs/MODEL/1`, `2`, ...: a folder for each run, which a resumed run continues."""

    def __init__(self, run: LoggedRun) -> None:
        from torch.utils.tensorboard import SummaryWriter  # noqa: PLC0415 (slow, and not needed by other loggers)

        numbers = [int(path.name) for path in run.folder.glob("*") if path.name.isdigit()]
        number = max(numbers) if numbers and run.resumed else max(numbers, default=0) + 1
        # TensorBoard leaves out what an earlier start wrote after the step that this one goes on from.
        purge = run.step + 1 if run.resumed else None
        self._writer = SummaryWriter(str(run.folder / str(number)), purge_step=purge)

    def write(self, values: Mapping[str, float], step: int) -> None:
        """See `Logger`."""
        for name, value in values.items():
            self._writer.add_scalar(name, value, step)

    def close(self) -> None:
        """See `Logger`."""
        self._writer.close()


class WandbLogger:
    """A run of Weights & Biases. Its variables hold (WANDB_MODE=offline, WANDB_PROJECT, ...); files go to the log
    folder. Nothing of the code, the machine's load or the console is sent."""

    def __init__(self, run: LoggedRun) -> None:
        import wandb  # noqa: PLC0415 (an optional extra)

        id, _ = run.kept_id("wandb")
        self._run = wandb.init(
            project=os.environ.get("WANDB_PROJECT", PROJECT), name=run.name, id=id, resume="allow",
            dir=run.folder, config=dict(run.settings), allow_val_change=True,
            settings=wandb.Settings(
                console="off", silent=True, disable_git=True, save_code=False, x_disable_stats=True
            ),
        )  # fmt: skip
        run.keep_id("wandb", id)
        # An axis of our own: W&B's drops what comes again after the position that a run is resumed at.
        self._run.define_metric("*", step_metric="step")
        log.info("Weights & Biases: run %s", id if self._run.offline else self._run.url)

    def write(self, values: Mapping[str, float], step: int) -> None:
        """See `Logger`."""
        self._run.log({**values, "step": step})

    def close(self) -> None:
        """See `Logger`."""
        self._run.finish()


class MlflowLogger:
    """A run of MLflow at MLFLOW_TRACKING_URI; without it, in files in the log folder."""

    def __init__(self, run: LoggedRun) -> None:
        uri = os.environ.get("MLFLOW_TRACKING_URI")
        if uri is None:
            uri = (run.folder / "mlruns").resolve().as_uri()
            os.environ.setdefault("MLFLOW_ALLOW_FILE_STORE", "true")
        from mlflow.entities import Metric, Param  # noqa: PLC0415 (an optional extra)
        from mlflow.tracking import MlflowClient  # noqa: PLC0415

        self._metric = Metric
        self._client = MlflowClient(tracking_uri=uri)
        self._id, known = run.kept_id("mlflow")
        if known:
            self._client.update_run(self._id, status="RUNNING")
        else:
            name = os.environ.get("MLFLOW_EXPERIMENT_NAME", PROJECT)
            found = self._client.get_experiment_by_name(name)
            experiment = found.experiment_id if found else self._client.create_experiment(name)
            self._id = self._client.create_run(experiment, run_name=run.name).info.run_id
            params = [Param(key, str(value)) for key, value in run.settings.items()]
            for begin in range(0, len(params), 100):  # the most that a call takes
                self._client.log_batch(self._id, params=params[begin : begin + 100])
            run.keep_id("mlflow", self._id)
        log.info("MLflow: run %s at %s", self._id, uri)

    def write(self, values: Mapping[str, float], step: int) -> None:
        """See `Logger`."""
        now = int(time.time() * 1000)
        self._client.log_batch(self._id, metrics=[self._metric(k, v, now, step) for k, v in values.items()])

    def close(self) -> None:
        """See `Logger`."""
        self._client.set_terminated(self._id)


LOGGERS: dict[str, Callable[[LoggedRun], Logger]] = {
    "tensorboard": TensorBoardLogger,
    "wandb": WandbLogger,
    "mlflow": MlflowLogger,
}


def require_logger(name: str) -> None:
    """Raise LigandsmithError if the package of a logger is not installed."""
    package = PACKAGES.get(name, "")
    if package and find_spec(package) is None:
        raise LigandsmithError(
            f"--logger {name}: {package} is not installed; pip install 'ligandsmith[{name}]', or leave --logger out"
        )


class LastingLogger:
    """A logger that never ends a training: its first failure is one warning, and nothing more is written."""

    def __init__(self, name: str, run: LoggedRun) -> None:
        """`name` is one of `LOGGERS`, or "none". Raises LigandsmithError if its package is not installed."""
        require_logger(name)
        self._name = name
        self._logger: Logger | None = None
        if name != "none":
            run.folder.mkdir(parents=True, exist_ok=True)
            self._logger = self._try(lambda: LOGGERS[name](run))

    def write(self, values: Mapping[str, float], step: int) -> None:
        """See `Logger`."""
        if (logger := self._logger) is not None:
            self._try(lambda: logger.write(values, step))

    def close(self) -> None:
        """See `Logger`."""
        if (logger := self._logger) is not None:
            self._try(logger.close)
            self._logger = None

    def _try(self, work: Callable[[], T]) -> T | None:
        try:
            return work()
        except Exception as error:  # noqa: BLE001 (a disk, a network, a service: none is worth a training)
            self._logger = None
            text = one_line(error) or type(error).__name__
            log.warning("--logger %s failed (%s); training goes on without it", self._name, text)
            return None
