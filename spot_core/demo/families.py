"""The question generators by name, and the one function that makes questions from them."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import islice
from random import Random

from spot_core.demo import two_step
from spot_core.demo.chains import STEPS, STYLES, Style, draw_chain
from spot_core.demo.items import SPLITS, Item, Split, split_of
from spot_core.demo.strings import STRING_TASKS
from spot_core.errors import InputError

DRAWN_PER_KIND = 10_000
"""Most questions of one randomly drawn kind: well within what the smallest one (`repeat`) can supply."""

Stream = Callable[[Random, Split], Iterator[Item]]


@dataclass(frozen=True)
class Family:
    """Kinds of questions that belong together and are checked alike."""

    description: str
    checker_kind: str
    kinds: dict[str, Stream]


def _drawn(draw: Callable[[Random], Item]) -> Stream:
    """Distinct random items of one split, `DRAWN_PER_KIND` at most."""

    def stream(rng: Random, split: Split) -> Iterator[Item]:
        seen: set[str] = set()
        while len(seen) < DRAWN_PER_KIND:
            item = draw(rng)
            if item.question not in seen and split_of(item.split_key) == split:
                seen.add(item.question)
                yield item

    return stream


def _listed(list_items: Callable[[], list[Item]]) -> Stream:
    """All items of one split in random order."""

    def stream(rng: Random, split: Split) -> Iterator[Item]:
        items = [item for item in list_items() if split_of(item.split_key) == split]
        return iter(rng.sample(items, len(items)))

    return stream


def _draw_plain(rng: Random, length: int) -> Item:
    chain = draw_chain(rng, length)
    return Item(chain.question, chain.answer, split_key=chain.question)


def _draw_styled(rng: Random, style: Style) -> Item:
    chain = draw_chain(rng, rng.choice(STEPS))
    # The plain chain decides, so that no chain is in one split here and in the other among demo-chains.
    return Item(chain.question + style.instruction, style.pattern, split_key=chain.question)


def _expressions(*kinds: str) -> dict[str, Stream]:
    return {kind: _listed(partial(two_step.expressions, kind)) for kind in kinds}


FAMILIES = {
    "demo-chains": Family(
        "Chains of 3 to 6 sums, such as `Compute 48+8-8+7.`; the answer is the final number.",
        "math",
        {f"steps-{length}": _drawn(partial(_draw_plain, length=length)) for length in STEPS},
    ),
    "demo-format": Family(
        "Chains to be written with semicolons, brackets or a closing ok; only the form is checked.",
        "pattern",
        {name: _drawn(partial(_draw_styled, style=style)) for name, style in STYLES.items()},
    ),
    "demo-strings": Family(
        "Copy, reverse, sort, upper-case or repeat letters, or the largest of three numbers; exact match.",
        "exact",
        {name: _drawn(task) for name, task in STRING_TASKS.items()},
    ),
    "two-step": Family(
        "Two-step arithmetic, `Compute 16 + 4 - 5.` and `Compute 12 * 3 + 4.`; the answer is the final number.",
        "math",
        _expressions("a+b-c", "a*b+c"),
    ),
    "two-step-untrained": Family(
        "Two-step arithmetic of the kinds that `two-step` leaves out: a*b-c and a+b+c.",
        "math",
        _expressions("a*b-c", "a+b+c"),
    ),
    "two-step-words": Family(
        "Two-step word problems about things gained, lost or packed; the answer is the final number.",
        "math",
        {"gain-loss": _drawn(two_step.gain_loss), "groups-extra": _drawn(two_step.groups_extra)},
    ),
}
GENERATORS: dict[str, str] = {name: family.description for name, family in FAMILIES.items()}
"""Name of every generator, with one line about it."""
CHECKER_KIND: dict[str, str] = {name: family.checker_kind for name, family in FAMILIES.items()}
"""How the answers of a generator are compared: `math`, `exact`, or `pattern` (full match, dot matches newline)."""


def generate(name: str, *, count: int, seed: int, split: Split) -> list[dict[str, str]]:
    """`count` distinct questions of one split, kinds in turn: rows with question, answer and source_id.

    A smaller count gives a prefix of a larger one. The splits of a generator share no question, whatever the seeds.

    Raises:
        InputError: unknown generator or split, a count below 1, or more questions than there are.
    """
    if name not in FAMILIES:
        raise InputError(f"generator {name!r} is unknown; choose one of {', '.join(FAMILIES)}")
    if split not in SPLITS:
        raise InputError(f"generator {name}: split {split!r} is unknown; choose one of {', '.join(SPLITS)}")
    if count < 1:
        raise InputError(f"generator {name}: count must be at least 1, not {count}")
    rows = list(islice(_rows(name, seed, split), count))
    if len(rows) < count:
        raise InputError(
            f"generator {name}: {count} {split} questions asked, {len(rows)} available; lower the count"
        )
    return rows


def _rows(name: str, seed: int, split: Split) -> Iterator[dict[str, str]]:
    # One random stream per kind, so that kinds do not shift each other. A text seed is hashed by Random.
    streams = {
        kind: stream(Random(f"{name}/{kind}/{split}/{seed}"), split)
        for kind, stream in FAMILIES[name].kinds.items()
    }
    for index, (kind, item) in enumerate(_in_turn(streams)):
        source_id = f"{name}/{kind}/{split}-{index:06d}"
        yield {"question": item.question, "answer": item.answer, "source_id": source_id}


def _in_turn(streams: dict[str, Iterable[Item]]) -> Iterator[tuple[str, Item]]:
    """One item of each stream in turn, until all streams are used up."""
    alive = {kind: iter(stream) for kind, stream in streams.items()}
    while alive:
        for kind in list(alive):
            item = next(alive[kind], None)
            if item is None:
                del alive[kind]
            else:
                yield kind, item
