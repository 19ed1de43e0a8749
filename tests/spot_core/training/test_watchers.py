"""What a person sees is every step once, with the values that training goes on from, whatever was killed."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.summary.writer import event_file_writer

from spot_core.config.train import TrainConfig
from spot_core.errors import ConfigError
from spot_core.training import watchers
from spot_core.training.watchers import Show, require_watchers, watching

WANDB = TrainConfig(wandb_project="spot")


@pytest.fixture(autouse=True)
def files_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    """Attempts of one second are told apart by a counter, of which ".10" would sort before ".9"."""
    monkeypatch.setattr(event_file_writer, "_global_uid", event_file_writer.AtomicCounter(0))


def row(step: int, attempt: int = 0) -> dict[str, Any]:
    """Metrics of a step; an attempt that makes a step again may get other digits."""
    return {"step": step, "loss": 1.0 / (step + 1) + 0.01 * attempt, "pairs": 8, "delta": None, "mfu": None}


@contextmanager
def opened(folder: Path, settings: TrainConfig = TrainConfig(), going_on_after: int = 0) -> Iterator[Show]:  # noqa: B008
    places = {"folder": folder, "generation": 0, "scratch": folder / "scratch"}
    with watching(
        settings, **places, name="my-run", facts={"beta": 0.1}, going_on_after=going_on_after
    ) as show:
        yield show


def attempt(folder: Path, steps: range, number: int = 0, *, after: int = 0, **settings: Any) -> None:
    """Shows what `launch` gives: the rows that an attempt goes on from, then its own."""
    with opened(folder, going_on_after=after, **settings) as show:
        for step in range(steps.stop):
            show(row(step, number if step >= steps.start else number - 1))


def seen(folder: Path, tag: str = "train/loss") -> list[tuple[int, float]]:
    events = EventAccumulator(str(folder / "tensorboard" / "0"), size_guidance={"scalars": 0}).Reload()
    return [(event.step, pytest.approx(event.value, rel=1e-6)) for event in events.Scalars(tag)]


def test_tensorboard_shows_every_figure_of_every_step(tmp_path: Path) -> None:
    attempt(tmp_path, range(5))
    assert seen(tmp_path) == [(step, row(step)["loss"]) for step in range(5)]
    assert seen(tmp_path, "train/pairs") == [(step, 8) for step in range(5)]
    with pytest.raises(KeyError):  # figures that there are not
        seen(tmp_path, "train/mfu")


def test_a_resumed_attempt_replaces_the_steps_it_makes_again(tmp_path: Path) -> None:
    attempt(tmp_path, range(7))
    attempt(tmp_path, range(4, 9), 1, after=4)
    assert seen(tmp_path) == [(step, row(step, step >= 4)["loss"]) for step in range(9)]


def test_steps_that_a_killed_launcher_had_not_shown_are_filled_in(tmp_path: Path) -> None:
    attempt(tmp_path, range(2))  # the ranks were at a checkpoint of 4 steps by then
    attempt(tmp_path, range(4, 6), 1, after=4)
    expected = [(step, row(step, step >= 4)["loss"]) for step in range(6)]
    assert seen(tmp_path) == expected
    assert len(list((tmp_path / "tensorboard" / "0").iterdir())) == 2


def test_training_from_the_start_begins_a_new_curve(tmp_path: Path) -> None:
    attempt(tmp_path, range(6))
    attempt(tmp_path, range(3), 1)
    assert seen(tmp_path) == [(step, row(step, 1)["loss"]) for step in range(3)]


def test_each_row_is_on_the_disk_before_the_next_comes(tmp_path: Path) -> None:
    with opened(tmp_path) as show:
        show(row(0))
        show(row(1))
        assert [step for step, _ in seen(tmp_path)] == [0, 1]


def test_wandb_without_its_package_is_refused_with_the_command_that_installs_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def missing(name: str) -> str:
        raise PackageNotFoundError(name)

    monkeypatch.setattr(watchers, "version", missing)
    require_watchers(TrainConfig())
    with pytest.raises(ConfigError, match=r"train\.wandb_project = 'spot'.*uv pip install .*wandb"):
        require_watchers(WANDB)


def test_wandb_without_a_key_is_refused_unless_offline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watchers, "version", lambda name: "0.31.0")
    for name in ("WANDB_API_KEY", "WANDB_MODE"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(ConfigError, match="export WANDB_API_KEY"):
        require_watchers(WANDB)
    monkeypatch.setenv("WANDB_MODE", "offline")
    require_watchers(WANDB)
    monkeypatch.delenv("WANDB_MODE")
    monkeypatch.setenv("WANDB_API_KEY", "secret")
    require_watchers(WANDB)


class FakeWandb:
    """W&B's server as far as we use it: runs by id, steps that only increase, what is logged below one is lost."""

    Error = RuntimeError
    Settings = staticmethod(lambda **values: values)

    def __init__(self) -> None:
        self.history: dict[str, dict[int, dict[str, float]]] = {}
        self.ended: list[int] = []
        self.given: dict[str, Any] = {}

    def init(self, **given: Any) -> SimpleNamespace:
        self.given = given
        history = self.history.setdefault(given["id"], {})

        def log(figures: dict[str, float], step: int) -> None:
            assert step >= max(history, default=-1), "W&B warns of a step that decreases"
            history.setdefault(step, {}).update(figures)

        finish = lambda exit_code=0: self.ended.append(exit_code)  # noqa: E731
        return SimpleNamespace(step=max(history, default=-1) + 1, log=log, finish=finish)


def test_a_restart_goes_on_with_the_same_wandb_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wandb = FakeWandb()
    monkeypatch.setitem(sys.modules, "wandb", wandb)
    with pytest.raises(KeyboardInterrupt), opened(tmp_path, WANDB) as show:
        for step in range(7):
            show(row(step))
        raise KeyboardInterrupt
    attempt(tmp_path, range(4, 9), 1, after=4, settings=WANDB)
    (history,) = wandb.history.values()
    losses = [figures["train/loss"] for figures in history.values()]
    assert losses == [row(step, step >= 7)["loss"] for step in range(9)]
    assert wandb.ended == [1, 0]
    assert (wandb.given["project"], wandb.given["name"], wandb.given["config"]) == (
        "spot",
        "my-run",
        {"beta": 0.1},
    )


def test_a_wandb_that_refuses_is_told_with_the_setting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wandb = FakeWandb()

    def refuse(**_: Any) -> None:
        raise RuntimeError("permission denied")

    monkeypatch.setattr(wandb, "init", refuse)
    monkeypatch.setitem(sys.modules, "wandb", wandb)
    with (
        pytest.raises(ConfigError, match=r"train\.wandb_project = 'spot'.*permission denied"),
        opened(tmp_path, WANDB),
    ):
        pass


def test_the_real_wandb_takes_the_rows_offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("wandb", reason="the optional package wandb is not installed")
    monkeypatch.setenv("WANDB_MODE", "offline")
    for number in range(2):
        attempt(tmp_path, range(4 * number, 4 * number + 5), number, after=4 * number, settings=WANDB)
    identity = (tmp_path / "scratch" / "wandb-run-id").read_text()
    runs = list((tmp_path / "wandb").glob(f"offline-run-*-{identity}"))
    assert len(runs) == 2
    assert all((path / f"run-{identity}.wandb").stat().st_size > 0 for path in runs)
