"""Short tasks on strings and numbers: the knowledge that post-training must not destroy."""

from collections.abc import Callable
from random import Random
from string import ascii_lowercase

from spot_core.demo.items import Item

WORD_LENGTHS = range(3, 6)
UNIT_LENGTHS = range(2, 4)
REPEATS = range(2, 6)
NUMBERS = range(100)


def _word(rng: Random, lengths: range = WORD_LENGTHS) -> str:
    return "".join(rng.choices(ascii_lowercase, k=rng.choice(lengths)))


def _item(question: str, answer: str) -> Item:
    return Item(question, answer, split_key=question)


def copy(rng: Random) -> Item:
    word = _word(rng)
    return _item(f"Copy {word}.", word)


def reverse(rng: Random) -> Item:
    word = _word(rng)
    return _item(f"Reverse {word}.", word[::-1])


def sort(rng: Random) -> Item:
    word = _word(rng)
    return _item(f"Sort {word}.", "".join(sorted(word)))


def upper(rng: Random) -> Item:
    word = _word(rng)
    return _item(f"Upper {word}.", word.upper())


def maximum(rng: Random) -> Item:
    numbers = rng.choices(NUMBERS, k=3)
    return _item(f"Max {' '.join(map(str, numbers))}.", str(max(numbers)))


def repeat(rng: Random) -> Item:
    unit, times = _word(rng, UNIT_LENGTHS), rng.choice(REPEATS)
    return _item(f"Repeat {unit} {times} times.", unit * times)


STRING_TASKS: dict[str, Callable[[Random], Item]] = {
    "copy": copy,
    "reverse": reverse,
    "sort": sort,
    "upper": upper,
    "max": maximum,
    "repeat": repeat,
}
