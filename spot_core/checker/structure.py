"""Reads how an answer is built: list, tuple, set, interval, matrix, equation; what is left is one expression.

Works on normalised answers. An answer whose structure is not understood is one expression, never an error.
"""

import functools
import itertools
import re

from spot_core.checker.leaves import read_clock
from spot_core.checker.nodes import (
    Expression,
    Group,
    Named,
    Node,
    Read,
    is_enclosed,
    read_built_set,
    read_inequality,
    read_interval,
    read_matrix,
    read_set_in_words,
    read_union,
    split_top,
)
from spot_core.checker.quantity import read_quantity

MAX_DEPTH = 12
MAX_ITEMS = 64
"""Longer or deeper answers are no final answers of this kind; they stay one expression."""
_NAME = re.compile(
    r"[A-Za-z\\][A-Za-z\\ '_{}\d:]{0,40}(?:\([A-Za-z\\ ,\d]{1,20}\))?'?|\([A-Za-z, _{}\d\\]{1,40}\)"
)
_PLUS_MINUS = re.compile(r"\\[pm]{2}(?![A-Za-z])|\+/-|\+-")
_LABEL = re.compile(r"(?:[A-Z](?=\s*\([^()]*,)|[A-Z]?[a-z]{2,}(?: [a-z]+){0,3}:)\s*(.+)", re.DOTALL)
"""A point's name before its coordinates, or words and a colon."""
_HAS_VARIABLE = re.compile(r"(?<!\\)[A-Za-z]|\\(?:alpha|beta|gamma|theta|lambda|mu|phi|omega)(?![A-Za-z])")


def read_structure(text: str) -> Node:
    """The structure of a normalised answer."""
    return _read(text, 0)


def _read(text: str, depth: int) -> Node:
    text = _without_group(text.strip())
    if depth > MAX_DEPTH or read_quantity(text) or read_clock(text):
        return Expression(text)
    deeper = functools.partial(_read, depth=depth + 1)
    for reader in _READERS:
        if (node := reader(text, deeper)) is not None:
            return node
    return Expression(text)


def _without_group(text: str) -> str:
    """Without the braces of a TeX group around everything; with a comma in it they are somebody's set."""
    for _ in range(MAX_DEPTH):
        if not (text.startswith("{") and text.endswith("}") and is_enclosed(text, 1, 1)):
            break
        text = text[1:-1].strip()
    return text


def _labelled(text: str, read: Read) -> Node | None:
    match = _LABEL.fullmatch(text)
    return read(match[1]) if match else None


def _member(text: str, read: Read) -> Node | None:
    member, *sets = split_top(text, lambda word: word == r"\in")
    return read(sets[0]) if len(sets) == 1 and _NAME.fullmatch(member) else None


def _named(text: str, read: Read) -> Node | None:
    sides = [_without_group(side) for side in split_top(text, lambda word: word == "=")]
    several = any(_is_several(side) for side in sides[:-1]) or (
        _is_several(sides[-1]) and read_quantity(sides[-1]) is None  # x = 1,000 is one
    )
    if not all(sides[1:]) or (several and not _one_name(sides)):
        return None
    if len(sides) == 1:
        return _approximated(text, read)
    if not any(_HAS_VARIABLE.search(side) for side in sides):
        return read(sides[-1])  # 2 + 3 = 5
    if len(sides) == 2 and not _NAME.fullmatch(sides[0]) and _NAME.fullmatch(sides[1]):
        sides.reverse()
    if sides[0] and (not _NAME.fullmatch(sides[0]) or r"\frac" in sides[0]):
        return None
    value = split_top(sides[-1], lambda word: word == r"\approx")[0]
    return _assigned("".join(sides[0].split()), read(value), text) if value else None


def _is_several(text: str) -> bool:
    return len(split_top(text, lambda word: word in (",", ";", "and", "or"))) > 1


def _approximated(text: str, read: Read) -> Node | None:
    """`x \\approx 11` as `x = 11`; of `2/3 \\approx 0.667` the exact value counts."""
    name, *approximations = split_top(text, lambda word: word == r"\approx")
    if not approximations:
        return None
    if _NAME.fullmatch(name) or not name:
        return Named(name, read(approximations[-1]), text)
    return read(name)


def _assigned(name: str, value: Node, text: str) -> Node:
    """`name = value`; `(x, y) = (1, 2)` gives a name to each of its values."""
    names = name[1:-1].split(",") if name.startswith("(") else []
    if (
        len(names) > 1
        and isinstance(value, Group)
        and value.kind == "tuple"
        and len(value.items) == len(names)
    ):
        items = (Named(*pair, text) for pair in zip(names, value.items, strict=True))
        return Group("tuple", tuple(items), text)
    return Named(name, value, text)


def _one_name(sides: list[str]) -> bool:
    """Whether all commas stand on the right of the only equals sign, as in `x = 1, 2`."""
    return len(sides) == 2 and bool(_NAME.fullmatch(sides[0]))


def _several(text: str, read: Read) -> Node | None:
    for separators in ((";",), (",", "and", "or")):
        parts = _continued([part for part in split_top(text, lambda word, s=separators: word in s) if part])
        if 1 < len(parts) <= MAX_ITEMS:
            items = tuple(read(part) for part in parts)
            if separators == (";",):  # p = 5, q = 2; p = 7, q = 2
                items = tuple(_as_tuple(item) for item in items)
            return Group("list", items, text)
    return None


def _as_tuple(node: Node) -> Node:
    return Group("tuple", node.items, node.text) if isinstance(node, Group) and node.kind == "list" else node


def _ratio(text: str, read: Read) -> Node | None:
    parts = split_top(text, lambda word: word == ":")
    if not 2 <= len(parts) <= MAX_ITEMS or not all(parts) or all(map(read_quantity, parts)):
        return None
    return Group("ratio", tuple(read(part) for part in parts), text)


def _bracketed(text: str, read: Read) -> Node | None:
    for opening, closing, kind in (("(", ")", "tuple"), (r"\{", r"\}", "set"), ("[", "]", "tuple")):
        if not (text.startswith(opening) and text.endswith(closing)):
            continue
        if not is_enclosed(text, len(opening), len(closing)):
            continue
        inner = text[len(opening) : -len(closing)].strip()
        if kind == "set" and (built := read_built_set(inner, text)) is not None:
            return built
        parts = _continued([part for part in split_top(inner, lambda word: word in (",", ";")) if part])
        if not parts or len(parts) > MAX_ITEMS:
            return None
        items = tuple(read(part) for part in parts)
        return items[0] if len(items) == 1 and kind != "set" else Group(kind, items, text)
    return None


def _continued(parts: list[str]) -> list[str]:
    """`1, 2, ..., 10` with what the dots stand for, where that is an arithmetic progression of integers."""
    if parts.count("...") != 1 or not 2 <= parts.index("...") == len(parts) - 2:
        return parts
    try:
        *first, last = (int(part) for part in parts if part != "...")
    except ValueError:
        return parts
    step = first[1] - first[0]
    steady = all(b - a == step for a, b in itertools.pairwise(first))
    if not step or not steady or (last - first[0]) % step or not 0 < (last - first[0]) // step < MAX_ITEMS:
        return parts
    return [str(value) for value in range(first[0], last + (1 if step > 0 else -1), step)]


def _plus_minus_in_tuple(text: str, read: Read) -> Node | None:
    """`(0, \\pm 2)`: two points."""
    return _plus_minus(text, read) if text.startswith("(") else None


def _plus_minus(text: str, read: Read) -> Node | None:
    signs = _PLUS_MINUS.findall(text)
    if len(signs) != 1:
        return None
    items = tuple(read(_PLUS_MINUS.sub(sign, text)) for sign in ("+", "-"))
    return Group("list", items, text)


_READERS = (
    read_set_in_words,
    _labelled,
    _member,
    read_matrix,
    read_inequality,
    read_interval,
    _named,
    read_union,
    _several,
    _plus_minus_in_tuple,
    _bracketed,
    _ratio,
    _plus_minus,
)
"""In this order: each gives the structure of a text, or None where it is not of its kind."""
