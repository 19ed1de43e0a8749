"""What a store holds that no run refers to: found from a listing, and removed under the lease of each artifact."""

import re
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from spot_core.store.artifact_store import ArtifactStore
from spot_core.store.backend import Stored

KEEP_UNFINISHED_DAYS = 30.0
"""A run may wait that long for a person."""
_DAY = 86_400.0  # seconds
_JUST_MADE_SECONDS = 3600.0
"""A run notes what it uses when it has it: younger artifacts may be about to be noted."""

Why = Literal["no run uses it", "unfinished", "damaged", "left over", "nothing is left of it"]
Used = set[tuple[str, str, int]]
"""Stage, key and generation of artifacts."""

_PLACE = re.compile(r"(?!runs/|replies/)([a-z_]+)/([0-9a-f]{16})/(.+)", re.DOTALL)
_GENERATION = re.compile(r"(\d+)/.+", re.DOTALL)
_ASIDE = re.compile(r"\d+\.damaged-\d+/")
_MANIFEST = re.compile(r"\d+/manifest(\.(\d+))?\.json")
_DAMAGED = re.compile(r"\d+/manifest\.damaged-(\d+)\.json")
_RECORD = re.compile(r"runs/[^/]+/run(/\d+)?\.json")
_NUMBERED_LEASE = ".lease/"
"""In an object store: it stays, so that its number is not given again."""
_ATTEMPT = re.compile(r"\d+/([0-9a-f]{12})/")


class Place(NamedTuple):
    """Where all generations of an artifact lie."""

    stage: str
    key: str

    def __str__(self) -> str:
        return f"{self.stage}/{self.key}"


@dataclass(frozen=True)
class Garbage:
    """Files that belong together and can go."""

    place: Place
    what: str
    """A generation, one that was set aside, or what lies beside them."""
    why: Why
    names: tuple[str, ...]
    bytes: int
    modified: float
    """Seconds since 1970."""


def find_garbage(
    store: ArtifactStore, used: Used, *, keep_days: float = KEEP_UNFINISHED_DAYS, now: float | None = None
) -> list[Garbage]:
    """What can be removed from a store, given what its runs use.

    Kept are: what a run uses; what was completed within the last hour; unfinished work of the last ``keep_days``, and
    with any of these the logs beside it; runs, and replies that were paid for.
    """
    by_place: defaultdict[Place, dict[str, Stored]] = defaultdict(dict)
    for name, stored in store.backend.inventory().items():
        if match := _PLACE.fullmatch(name):
            by_place[Place(match[1], match[2])][match[3]] = stored
    return [
        garbage
        for place in sorted(by_place)
        for garbage in _of_place(store, place, by_place[place], used, keep_days=keep_days, now=now)
    ]


def remove_garbage(
    store: ArtifactStore,
    found: Iterable[Garbage],
    used: Callable[[], Used],
    *,
    keep_days: float = KEEP_UNFINISHED_DAYS,
    now: float | None = None,
) -> tuple[list[Garbage], list[Place]]:
    """Removes what is still garbage once nobody else can write there.

    What runs use is looked at again for each artifact, under its lease. What remains: a run that found an artifact
    before, and notes it only after that look, finds it gone: it is told so when it opens it, and makes it again.

    In an object store, whoever was killed elsewhere seems to be at work until the lease has run out: such places are
    watched for that long, all at once, and then had as well.

    Returns:
        What was removed, and the places that were left alone because somebody is at work in them.
    """
    removed: list[Garbage] = []
    in_use = _InUse(store, used)

    def collected(place: Place, dead: Any = None) -> bool:
        with store.backend.try_lease(*place, dead=dead) as held:
            if held is None:
                return False
            prefix = f"{place}/"
            files = {
                name.removeprefix(prefix): stored
                for name, stored in store.backend.inventory(str(place)).items()
            }
            gone = list(_of_place(store, place, files, in_use.now(), keep_days=keep_days, now=now))
            held.remove([name for garbage in gone for name in garbage.names])
            removed.extend(gone)
        return True

    refused = [place for place in sorted({garbage.place for garbage in found}) if not collected(place)]
    dead = store.backend.dead_holders(refused)
    busy = [place for place in refused if place not in dead or not collected(place, dead[place])]
    return removed, busy


class _InUse:
    """What the runs of a store use: their records are read again once any of them has changed, or there is a new one."""

    def __init__(self, store: ArtifactStore, read: Callable[[], Used]) -> None:
        self._store, self._read = store, read
        self._records: dict[str, Stored] | None = None
        self._used: Used = set()

    def now(self) -> Used:
        files = self._store.backend.inventory(
            "runs"
        )  # before they are read: a change since is seen the next time
        records = {name: stored for name, stored in files.items() if _RECORD.fullmatch(name)}
        if records != self._records:
            self._used = self._read()
            self._records = records
        return self._used


def _of_place(
    store: ArtifactStore,
    place: Place,
    files: Mapping[str, Stored],
    used: Used,
    *,
    keep_days: float,
    now: float | None,
) -> Iterator[Garbage]:
    now = time.time() if now is None else now
    generations, aside, beside = _sorted(files)
    for name, content in aside.items():
        yield _garbage(place, name, "damaged", content)
    kept = False
    for number, content in generations.items():
        age = now - max(stored.modified for stored in content.values())
        complete = _complete(content)
        if complete and age >= _JUST_MADE_SECONDS and (*place, number) not in used:
            yield _garbage(place, str(number), "no run uses it", content)
        elif not complete and age >= keep_days * _DAY:
            yield _garbage(place, str(number), "unfinished", content)
        else:
            kept = True
            if complete and (
                left_over := _left_over(content, lambda n=number: store.backend.attempt(*place, n))
            ):
                yield _garbage(place, str(number), "left over", left_over)
    locks = {
        name: beside.pop(name) for name in list(beside) if name.startswith(".lease.")
    }  # go with the last file
    rest = beside or ({} if generations or aside else locks)
    age = now - max((stored.modified for stored in rest.values()), default=now)
    if rest and not kept and (generations or age >= keep_days * _DAY):
        yield _garbage(place, "what lies beside", "nothing is left of it", rest)


def _sorted(
    files: Mapping[str, Stored],
) -> tuple[dict[int, dict[str, Stored]], dict[str, dict[str, Stored]], dict[str, Stored]]:
    """Generations, those that were set aside, and what lies beside them."""
    generations: defaultdict[int, dict[str, Stored]] = defaultdict(dict)
    aside: defaultdict[str, dict[str, Stored]] = defaultdict(dict)
    beside: dict[str, Stored] = {}
    for name, stored in files.items():
        if match := _GENERATION.fullmatch(name):
            generations[int(match[1])][name] = stored
        elif match := _ASIDE.match(name):
            aside[match[0].rstrip("/")][name] = stored
        elif not name.startswith(_NUMBERED_LEASE):
            beside[name] = stored
    return generations, aside, beside


def _complete(content: Iterable[str]) -> bool:
    """Whether there is a manifest that was not found damaged."""
    damaged = {int(match[1]) for name in content if (match := _DAMAGED.fullmatch(name))}
    made = {int(match[2] or 0) for name in content if (match := _MANIFEST.fullmatch(name))}
    return bool(made - damaged)


def _left_over(content: Mapping[str, Stored], counting: Callable[[], str | None]) -> dict[str, Stored]:
    """Files of a complete artifact that are not part of it: uploads of other attempts, and work that is done."""
    by_name = {name: match[1] for name in content if (match := _ATTEMPT.match(name))}
    attempts = set(by_name.values())
    attempt = counting() if len(attempts) > 1 else None
    dropped = attempts - {attempt} if attempt else set()
    return {
        name: stored for name, stored in content.items() if "/.work/" in name or by_name.get(name) in dropped
    }


def _garbage(place: Place, what: str, why: Why, content: Mapping[str, Stored]) -> Garbage:
    return Garbage(
        place,
        what,
        why,
        tuple(f"{place}/{name}" for name in content),
        sum(stored.bytes for stored in content.values()),
        max(stored.modified for stored in content.values()),
    )
