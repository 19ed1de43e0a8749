"""Where a person watches training: TensorBoard's files and, if asked for, a run on Weights & Biases.

The launching process writes both: `launch` gives it every step's row once and in order, after a restart those of the
earlier attempt first. The ranks know nothing of it.
"""

import os
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from spot_core.config.train import TrainConfig
from spot_core.errors import ConfigError

Show = Callable[[dict[str, Any]], None]
"""Takes the row of an optimizer step."""


@contextmanager
def watching(
    settings: TrainConfig,
    *,
    folder: Path,
    generation: int,
    scratch: Path,
    name: str,
    facts: Mapping[str, Any],
    going_on_after: int = 0,
) -> Iterator[Show]:
    """Gives a function that shows a row everywhere it is watched.

    Args:
        folder: gets `tensorboard/<generation>` and `wandb`, which are kept.
        generation: of the policy that is trained; another one is another curve.
        scratch: survives a restart of the same job, and has the id of the W&B run.
        name: what a person calls the run.
        facts: settings and the like, shown beside the W&B run.
        going_on_after: steps of an earlier attempt that this one goes on from.

    Raises:
        ConfigError: W&B refuses the run.
    """
    with ExitStack() as stack:
        shows = [stack.enter_context(_event_files(folder / "tensorboard" / str(generation), going_on_after))]
        if settings.wandb_project is not None:
            shows.append(
                stack.enter_context(_wandb_run(settings.wandb_project, folder, scratch, name, facts))
            )

        def show(row: dict[str, Any]) -> None:
            for one in shows:
                one(row)

        yield show


def require_watchers(settings: TrainConfig) -> None:
    """Raises ConfigError if metrics could not be shown where ``settings`` want them."""
    if settings.wandb_project is None:
        return
    wanted = f"train.wandb_project = {settings.wandb_project!r}"
    try:
        version("wandb")
    except PackageNotFoundError as error:
        raise ConfigError(
            f"{wanted} needs the package wandb: run `.venv/bin/uv pip install --python .venv/bin/python wandb`, "
            "or leave wandb_project unset"
        ) from error
    if not os.environ.get("WANDB_API_KEY") and os.environ.get("WANDB_MODE") not in ("offline", "disabled"):
        raise ConfigError(
            f"{wanted} needs a key: export WANDB_API_KEY where the training stage runs, or WANDB_MODE=offline to "
            "upload later with `wandb sync`"
        )


@contextmanager
def _event_files(folder: Path, going_on_after: int) -> Iterator[Show]:
    """TensorBoard's event files of one curve; each attempt adds a file.

    Steps that an earlier attempt wrote and this one makes again are purged; those before it are not written twice.
    """
    from tensorboard.compat.proto.event_pb2 import Event, SessionLog  # noqa: PLC0415
    from tensorboard.compat.proto.summary_pb2 import Summary  # noqa: PLC0415
    from tensorboard.summary.writer.event_file_writer import EventFileWriter  # noqa: PLC0415

    first = min(going_on_after, _steps_written(folder))
    writer = EventFileWriter(str(folder))
    # TensorBoard drops what it has read of this step and later ones.
    writer.add_event(
        Event(wall_time=time.time(), step=first, session_log=SessionLog(status=SessionLog.START))
    )

    def show(row: dict[str, Any]) -> None:
        if row["step"] < first:
            return
        values = [Summary.Value(tag=name, simple_value=value) for name, value in _figures(row).items()]
        writer.add_event(Event(wall_time=time.time(), step=row["step"], summary=Summary(value=values)))
        writer.flush()

    try:
        yield show
    finally:
        writer.close()


def _steps_written(folder: Path) -> int:
    """Steps, from 0 without a gap, that the event files of ``folder`` hold."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator  # noqa: PLC0415

    if not folder.is_dir():
        return 0
    events = EventAccumulator(str(folder), size_guidance={"scalars": 1}).Reload()
    # The newest event of a tag is always kept.
    return events.Scalars("train/loss")[-1].step + 1 if "train/loss" in events.Tags()["scalars"] else 0


@contextmanager
def _wandb_run(
    project: str, folder: Path, scratch: Path, name: str, facts: Mapping[str, Any]
) -> Iterator[Show]:
    """One run on W&B, whichever attempt writes to it.

    W&B keeps the first value of a step: those that a restart makes again are left as they are. An offline run cannot
    be gone on with, so each attempt writes all steps, and its newest folder is the one to upload.
    """
    import wandb  # noqa: PLC0415

    identity = scratch / "wandb-run-id"
    if not identity.exists():
        scratch.mkdir(parents=True, exist_ok=True)
        identity.write_text(uuid.uuid4().hex[:8], encoding="utf-8")
    try:
        run = wandb.init(
            project=project,
            id=identity.read_text(encoding="utf-8"),
            name=name,
            config=dict(facts),
            resume="allow",
            dir=folder,
            settings=wandb.Settings(console="off", silent=True),
        )
    except wandb.Error as error:
        raise ConfigError(f"train.wandb_project = {project!r}: W&B refuses the run: {error}") from error
    first = run.step

    def show(row: dict[str, Any]) -> None:
        if row["step"] >= first:
            run.log(_figures(row), step=row["step"])

    try:
        yield show
    except BaseException:
        run.finish(exit_code=1)
        raise
    run.finish()


def _figures(row: Mapping[str, Any]) -> dict[str, float]:
    """What is plotted over the steps, under the names that both show."""
    return {
        f"train/{name}": float(value) for name, value in row.items() if name != "step" and value is not None
    }
