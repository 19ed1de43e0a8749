"""Two-step arithmetic for a small instruct model: as expressions, and told as a story."""

from itertools import product
from random import Random

from spot_core.demo.items import Item

SUM_STARTS = range(2, 41)
PRODUCT_STARTS = range(2, 21)
OPERANDS = range(2, 10)

NAMES = ("Anna", "Ben", "Clara", "David", "Emma", "Frank", "Grace", "Hugo")
THINGS = ("apples", "books", "cards", "coins", "eggs", "marbles", "pencils", "shells")
GAIN_LOSS = (
    "{name} has {a} {things}. {name} gets {b} more {things} and then gives away {c}. "
    "How many {things} does {name} have now?",
    "There are {a} {things} on the table. {name} adds {b} {things} and later takes {c} away. "
    "How many {things} are on the table?",
)
GROUPS_EXTRA = (
    "{name} buys {b} boxes with {a} {things} in each box and finds {c} more {things}. "
    "How many {things} does {name} have?",
    "{name} puts {a} {things} into each of {b} bags. {c} {things} are left over. "
    "How many {things} are there in all?",
)


def _evaluate(kind: str, a: int, b: int, c: int) -> int:
    first = a * b if kind[1] == "*" else a + b
    return first + c if kind[3] == "+" else first - c


def expressions(kind: str) -> list[Item]:
    """All questions `Compute a + b - c.` of one kind, written like `a+b-c`; no answer is below zero."""
    starts = PRODUCT_STARTS if kind[1] == "*" else SUM_STARTS
    items = []
    for a, b, c in product(starts, OPERANDS, OPERANDS):
        value = _evaluate(kind, a, b, c)
        if value >= 0:
            question = f"Compute {a} {kind[1]} {b} {kind[3]} {c}."
            items.append(Item(question, str(value), split_key=question))
    return items


def _story(rng: Random, kind: str, templates: tuple[str, ...]) -> Item:
    starts = PRODUCT_STARTS if kind[1] == "*" else SUM_STARTS
    b, c = rng.choice(OPERANDS), rng.choice(OPERANDS)
    a = rng.choice([start for start in starts if _evaluate(kind, start, b, c) >= 0])
    template = rng.choice(templates)
    question = template.format(name=rng.choice(NAMES), things=rng.choice(THINGS), a=a, b=b, c=c)
    return Item(question, str(_evaluate(kind, a, b, c)), split_key=question)


def gain_loss(rng: Random) -> Item:
    """A story of kind `a+b-c`."""
    return _story(rng, "a+b-c", GAIN_LOSS)


def groups_extra(rng: Random) -> Item:
    """A story of kind `a*b+c`."""
    return _story(rng, "a*b+c", GROUPS_EXTRA)
