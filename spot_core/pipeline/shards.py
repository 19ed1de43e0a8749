"""The rows of a stage, divided into shards that may be worked on anywhere; what is done about a row outlives its shard.

A stage divides the rows of which no journal tells anything yet, each time it is begun: so it does not matter how many
shards there were before, whether they ended, or whether there were any.
"""

import itertools
import math
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol
from uuid import uuid4

import pyarrow as pa
import pyarrow.parquet as pq

from spot_core.artifacts import Artifact
from spot_core.artifacts.journal import Journal, read_journal, scan_journal
from spot_core.errors import ConfigError

MOST_SHARDS = 500
SHOWN_SECONDS = 90.0
"""NFS looks at a folder anew after a minute at the latest."""

Record = dict[str, Any]
Seen = Callable[[Record], None]
"""Told of each record that was journaled."""


def unseen(record: Record) -> None:
    """For work whose records are seen by somebody else."""


@dataclass(frozen=True)
class Shard:
    """Some rows of a stage's input by their numbers, ascending; ``number`` tells it from the other shards."""

    number: int
    rows: Sequence[int]

    def __str__(self) -> str:
        return f"{len(self.rows):,} rows from {self.rows[0]:,} on"


@dataclass(frozen=True)
class Journals:
    """Several journals in one folder, which all machines share: whoever adds something does so in a file of its own.

    So a process that is believed to be dead can disturb nobody.
    """

    folder: Path

    def open(self, prefix: str) -> Journal:
        """A new journal. Those of one prefix are read in the order in which they were begun."""
        return Journal(self.folder / f"{prefix}-{time.time_ns():016x}-{uuid4().hex[:8]}.jsonl")

    def paths(self, prefix: str = "") -> list[Path]:
        """The journals there are, by name."""
        return sorted(self.folder.glob(f"{prefix}*.jsonl"))

    def records(self, prefix: str = "") -> Iterator[Record]:
        """What they hold."""
        for path in self.paths(prefix):
            yield from read_journal(path)


@dataclass
class Tail:
    """What is added to journals from now on, by whomever."""

    journals: Journals
    _read_to: dict[Path, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._read_to = {path: path.stat().st_size for path in self.journals.paths()}

    def news(self) -> Iterator[Record]:
        """The records that came since it was last asked."""
        for path in self.journals.paths():
            for placed in scan_journal(path, start=self._read_to.get(path, 0)):
                self._read_to[path] = placed.end
                yield placed.record


class Work(Protocol):
    """What a stage does about the rows of a shard. It can be pickled, and done again: then it does what is missing.

    Attributes:
        journals: take what comes of it.
    """

    journals: Journals

    def __call__(self, shard: Shard, seen: Seen = unseen) -> None:
        """Does it; `seen` is for who is in the same process."""
        ...


class Mapper(Protocol):
    """Has shards worked on elsewhere.

    Attributes:
        at_once: how many shards are at work at once.
        checking_processes: how many each of them may start to check answers.
    """

    at_once: int
    checking_processes: int

    def pieces(self, rows: int) -> int:
        """How many shards to make of so many rows."""
        ...

    def run(self, work: Work, shards: Sequence[Shard], seen: Seen, *, at_once: int | None = None) -> None:
        """Returns when all shards are done, or raises what one of them raised, once the others have stopped.

        `at_once`: no more than so many at once, where that is less than usual.
        """
        ...


def require_shown(journals: Journals, is_whole: Callable[[], bool]) -> None:
    """Waits until this machine sees what shards have written elsewhere: a network's file system may lag behind.

    Raises:
        ConfigError: it does not see it.
    """
    deadline = time.monotonic() + SHOWN_SECONDS
    while not is_whole():
        if time.monotonic() > deadline:
            raise ConfigError(
                f"all shards are done, but what they wrote is not in {journals.folder}: sharding.engine needs the "
                "store's folder on a file system that all machines of the cluster share, under the same path"
            )
        time.sleep(1.0)


def divided(runs: Iterable[Sequence[int]], pieces: int) -> list[Shard]:
    """Shards of about equal size; none has rows of two runs, so that there may be more than `pieces`."""
    runs = [run for run in runs if len(run)]
    size = math.ceil(sum(map(len, runs)) / pieces)
    parts = []
    for run in runs:
        count = math.ceil(len(run) / size)
        bounds = [len(run) * part // count for part in range(count + 1)]
        parts += [run[start:end] for start, end in itertools.pairwise(bounds)]
    return [Shard(number, rows) for number, rows in enumerate(parts)]


def batches_of(artifact: Artifact, rows: range, *, columns: list[str]) -> Iterator[pa.RecordBatch]:
    """Streams some rows of an artifact; what lies in other row groups is not read."""
    start = 0
    for part in artifact.parts:
        with pq.ParquetFile(part) as file:
            for group in range(file.num_row_groups):
                end = start + file.metadata.row_group(group).num_rows
                if end > rows.start and start < rows.stop:
                    place = start
                    for batch in file.iter_batches(row_groups=[group], columns=columns):
                        first = max(0, rows.start - place)
                        last = min(batch.num_rows, rows.stop - place)
                        if first < last:
                            yield batch.slice(first, last - first)
                        place += batch.num_rows
                start = end
