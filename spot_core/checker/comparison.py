"""Compares an answer with the gold answer by their structure, part by part.

What single expressions are worth is decided by the `Leaf` that is handed in: the cheap rules alone
(`compare_fast`), which leave some undecided, or those and SymPy (`engine`)."""

import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from spot_core.checker.leaves import compare_leaves
from spot_core.checker.nodes import (
    Bound,
    Expression,
    Group,
    Matrix,
    Named,
    Node,
    Span,
    Union,
    by_name,
    distinct,
    flattened,
    open_interval,
    value_of,
)
from spot_core.checker.notation import is_words, normalised
from spot_core.checker.quantity import read_quantity
from spot_core.checker.structure import read_structure
from spot_core.checker.verdict import Decision

_PARAMETER = re.compile(
    r"[\s,;]*\(?\s*(?:(?:where|with|for)\s+)?(?<![A-Za-z\\])(?P<name>[a-z])(?:\s*,\s*[a-z])*\s*\\in\s*\\mathbb\s*\{?\s*[NZQR]\s*\}?(?:\^\{?[+*]\}?|_\{[^{}]*\})?\s*\)?$"
)
_IN_WORDS = re.compile(
    r"[\s,;]*\(?\s*(?:where|with|for)\s+(?:(?:any|all|some|every|each|an|a|arbitrary)\s+)*(?:(?:real|positive|negative|non-?negative|integer|natural|constant|number|value)s?\s*)*(?P<name>[A-Za-z])?(?:\s+(?:is|being)\s+an?\s+(?:integer|constant|real number|arbitrary constant))?\s*\)?$"
)
_MODULUS = re.compile(
    r"(?P<residue>.*?)\s*\(?\s*(?:\\[pb]?mod|(?<![A-Za-z])mod)(?![A-Za-z])\s*(?:\{\s*(?P<a>\d+)\s*\}|(?P<b>\d+))\s*\)?$"
)

_CONGRUENT = re.compile(r"^\s*[a-zA-Z]\s*\\equiv\s*")


def without_clauses(answer: str, gold: str) -> tuple[str, str]:
    """Both without their clauses; a parameter gets the gold's letter, a modulus stays where both name another one."""
    answer, gold = _with_parameter_of(answer, gold)
    given, wanted = _MODULUS.fullmatch(answer), _MODULUS.fullmatch(gold)
    moduli = [match["a"] or match["b"] for match in (given, wanted) if match]
    if len(set(moduli)) > 1:
        return answer, gold
    return _residue(given) if given else answer, _residue(wanted) if wanted else gold


def _residue(match: re.Match[str]) -> str:
    return _CONGRUENT.sub("", match["residue"])


def _with_parameter_of(answer: str, gold: str) -> tuple[str, str]:
    values, names = [], []
    for text in (answer, gold):
        match = _PARAMETER.search(text) or _IN_WORDS.search(text)
        shortened = text[: match.start()] if match and match.start() > 0 else text
        values.append(shortened)
        names.append(match["name"] if match and shortened != text else None)
    if names[0] and names[1] and names[0] != names[1]:
        values[0] = re.sub(rf"(?<![A-Za-z\\]){names[0]}(?![A-Za-z])", names[1], values[0])
    return values[0], values[1]


Outcome = Decision | None
"""None: not decided by this leaf."""
Leaf = Callable[[str, str], Outcome]

MAX_GOLD_CHARS = 2_000
"""Longer golds are texts, no final answers; only the same text equals them."""
_RELATION = re.compile(r"[=<>]|\\(?:leq|geq|neq)(?![A-Za-z])")
_UNIT_VECTORS = re.compile(r"(?<![A-Za-z\\])i(?![A-Za-z]).*(?<![A-Za-z\\])j(?![A-Za-z])", re.DOTALL)
_FUNCTION = re.compile(r"([A-Za-z]+)\(([A-Za-z])\)")
_MANY = re.compile(r"\\(?:in|pm|mp|cup|cap|mathbb|emptyset|begin|hat|vec)(?![A-Za-z])|\.\.\.")
_VARIABLE = re.compile(r"(?<![\\A-Za-z])[A-Za-z](?![A-Za-z])")
MAX_FAST_PAIRS = 400
"""Items of one list times items of the other; more go to a worker, which can be killed."""


def compare_fast(answer: str, gold: str) -> Outcome:
    """The decision of the cheap rules, or None where only the engine can tell."""
    return compare(answer, gold, compare_leaves, most_pairs=MAX_FAST_PAIRS)


def compare(answer: str, gold: str, leaf: Leaf, *, most_pairs: int | None = None) -> Outcome:
    """The decision on an extracted answer; `most_pairs` bounds the comparisons of two lists (None: no bound)."""
    if answer.strip() == gold.strip():
        return "correct", "exact"
    if len(gold) > MAX_GOLD_CHARS:
        return "ambiguous", "gold_too_long"
    answer, gold = without_clauses(normalised(answer), normalised(gold))
    simple = compare_leaves(answer, gold)
    if simple is not None and simple[0] == "correct":
        return simple
    outcome = _Comparison(leaf, most_pairs).nodes(read_structure(answer), read_structure(gold))
    # A rule that doubts the texts as they stand (a decimal comma) is not overruled by a list that differs.
    if simple is not None and simple[0] == "ambiguous" and (outcome is None or outcome[0] != "correct"):
        return simple
    return outcome


class _Comparison:
    def __init__(self, leaf: Leaf, most_pairs: int | None) -> None:
        self._leaf = leaf
        self._most_pairs = most_pairs
        self._pairs = 0

    def nodes(self, given: Node, wanted: Node) -> Outcome:
        """The decision on two structures."""
        kinds = {type(given), type(wanted)}
        for kind, judge in (
            (Named, self._named),
            (Matrix, self._matrices),
            (Union, self._unions),
            (Group, self._groups),
        ):
            if kind in kinds:
                return judge(given, wanted)
        return self._leaf(given.text, wanted.text)

    def _named(self, given: Node, wanted: Node) -> Outcome:
        if not (isinstance(given, Named) and isinstance(wanted, Named)):
            other = wanted if isinstance(given, Named) else given
            if isinstance(other, Expression) and _RELATION.search(other.text):
                return self._leaf(given.text, wanted.text)
            return self.nodes(value_of(given), value_of(wanted))
        given = _with_argument_of(wanted, given)
        outcome = self.nodes(given.value, wanted.value)
        if given.name == wanted.name or not given.name or not wanted.name:
            return outcome
        if given.name.replace("'", "") == wanted.name.replace("'", ""):
            return "incorrect", "derivative"
        equal = outcome is not None and outcome[0] == "correct"
        if not equal and (_has_variable(wanted.value) or _has_variable(given.value)):
            return self._leaf(given.text, wanted.text)  # x = y and y = x say the same
        # y = 2x + 3 and f(x) = 2x + 3 say the same too; x = 5 and y = 5 may not.
        return ("ambiguous", "other_name") if equal and not _has_variable(wanted.value) else outcome

    def _matrices(self, given: Node, wanted: Node) -> Outcome:
        if not (isinstance(given, Matrix) and isinstance(wanted, Matrix)):
            other, matrix = (wanted, given) if isinstance(given, Matrix) else (given, wanted)
            if isinstance(other, Group) and other.kind == "tuple" and isinstance(matrix, Matrix):
                vector = Group("tuple", tuple(entry for row in matrix.rows for entry in row), matrix.text)
                return self._groups(*((vector, other) if matrix is given else (other, vector)))
            if isinstance(other, Expression) and _is_plain(other.text):
                return "incorrect", "matrix"
            return self._leaf(given.text, wanted.text)
        shapes = [[len(row) for row in matrix.rows] for matrix in (given, wanted)]
        entries = [[entry for row in matrix.rows for entry in row] for matrix in (given, wanted)]
        if len(entries[0]) != len(entries[1]):
            return "incorrect", "matrix"
        outcome = _all((self.nodes(a, b) for a, b in zip(*entries, strict=True)), "matrix")
        if shapes[0] == shapes[1] or outcome is None or outcome[0] == "incorrect":
            return outcome
        vectors = all(len(shape) == 1 or set(shape) == {1} for shape in shapes)
        return ("ambiguous", "row_or_column") if vectors else ("incorrect", "matrix")

    def _unions(self, given: Node, wanted: Node) -> Outcome:
        if any(isinstance(node, Expression) and _is_plain(node.text) for node in (given, wanted)):
            return "incorrect", "interval"
        pairs = []
        for node in (given, wanted):
            if isinstance(node, Expression) and node.text == r"\mathbb{R}":
                pairs.append((Span(None, None),))
            elif isinstance(node, Union):
                pairs.append(node.spans)
            elif (span := open_interval(node)) is not None:
                pairs.append((span,))
            else:
                return self._pair_in_brackets(given, wanted)
        given_spans, wanted_spans = pairs
        if len(given_spans) != len(wanted_spans):
            if all(_is_numeric(span) for span in (*given_spans, *wanted_spans)):
                return "incorrect", "interval"
            return self._leaf(given.text, wanted.text)
        return self._matched(given_spans, wanted_spans, self._spans, "interval")

    def _pair_in_brackets(self, given: Node, wanted: Node) -> Outcome:
        """`[1, 2]` as an answer where the gold is the list 1, 2."""
        if isinstance(given, Union) and isinstance(wanted, Group) and len(given.spans) == 1:
            low, high = given.spans[0].low, given.spans[0].high
            if low and high and low.closed and high.closed:
                items = tuple(read_structure(bound.text) for bound in (low, high))
                return self._groups(Group("list", items, given.text), wanted)
        outcome = self._leaf(given.text, wanted.text)
        mixed = isinstance(given, Group) or isinstance(wanted, Group)
        return ("ambiguous", "interval") if mixed and outcome and outcome[0] == "incorrect" else outcome

    def _spans(self, given: Span, wanted: Span) -> Outcome:
        sides = ((given.low, wanted.low), (given.high, wanted.high))
        return _all((self._bounds(*side) for side in sides), "interval")

    def _bounds(self, given: Bound | None, wanted: Bound | None) -> Outcome:
        if given is None or wanted is None:
            return ("correct" if given is wanted else "incorrect"), "interval"
        if given.closed != wanted.closed:
            return "incorrect", "interval"
        return self.nodes(read_structure(normalised(given.text)), read_structure(normalised(wanted.text)))

    def _groups(self, given: Node, wanted: Node) -> Outcome:
        if not (isinstance(given, Group) and isinstance(wanted, Group)):
            return self._group_and_single(given, wanted)
        named, wanted_named = by_name(given), by_name(wanted)
        if named is not None and wanted_named is not None and named.keys() == wanted_named.keys():
            return _all((self.nodes(named[name], wanted_named[name]) for name in wanted_named), "named")
        if named is not None and given.kind == "list" and wanted_named is None and wanted.kind == "tuple":
            given = Group(
                "tuple", tuple(named[name] for name in sorted(named)), given.text
            )  # y = 1, x = 2 is (2, 1)
        if {"tuple", "ratio"}.isdisjoint((given.kind, wanted.kind)) and wanted_named is None:
            return self._items(given, wanted)
        return self._ordered(given, wanted)

    def _ordered(self, given: Group, wanted: Group) -> Outcome:
        if len(given.items) != len(wanted.items):
            return "incorrect", wanted.kind
        pairs = zip(given.items, wanted.items, strict=True)
        ordered = _all((self.nodes(value_of(a), value_of(b)) for a, b in pairs), wanted.kind)
        if ordered is None or ordered[0] == "ambiguous":
            return ordered
        kinds = {given.kind, wanted.kind}
        if "ratio" in kinds:
            return ordered if ordered[0] == "correct" and len(kinds) == 1 else ("ambiguous", "ratio")
        if ordered[0] == "correct":
            return ("ambiguous", "set_or_tuple") if kinds == {"set", "tuple"} else ordered
        if wanted.kind != "tuple" and given.kind == "tuple":
            unordered = self._items(given, wanted)
            return ("ambiguous", "order") if unordered and unordered[0] == "correct" else ordered
        return ordered

    def _items(self, given: Group, wanted: Group) -> Outcome:
        first, second = flattened(given), flattened(wanted)
        if len(first) > len(second) == len(distinct(second)):
            first = distinct(first)  # what is written twice counts once
        return self._matched(first, second, lambda a, b: self.nodes(value_of(a), value_of(b)), wanted.kind)

    def _group_and_single(self, given: Node, wanted: Node) -> Outcome:
        if isinstance(given, Group) and len(given.items) == 1:
            return self.nodes(given.items[0], wanted)
        if isinstance(wanted, Group) and len(wanted.items) == 1:
            return self.nodes(given, wanted.items[0])
        single, group = (wanted, given) if isinstance(given, Group) else (given, wanted)
        assert isinstance(group, Group)
        if group.kind == "ratio" or (group.kind == "tuple" and _UNIT_VECTORS.search(single.text)):
            return "ambiguous", group.kind
        if group is given and group.kind == "list":
            same = _all((self.nodes(item, wanted) for item in group.items), "same_values")
            if same is None or same[0] == "correct":
                return same  # 1/2 or 0.5
        if isinstance(single, Expression) and (_is_plain(single.text) or _is_single_value(single.text)):
            return "incorrect", "number_of_answers"
        return self._leaf(given.text, wanted.text)

    def _matched(
        self, given: Sequence[Any], wanted: Sequence[Any], equal: Callable[[Any, Any], Outcome], kind: str
    ) -> Outcome:
        """Whether the two hold the same, in whatever order."""
        if len(given) != len(wanted):
            return "incorrect", kind
        self._pairs += len(given) * len(wanted)
        if self._most_pairs is not None and self._pairs > self._most_pairs:
            return None
        outcomes = [[equal(candidate, item) for candidate in given] for item in wanted]
        left, unmatched = set(range(len(given))), []
        for found in outcomes:
            right = next((place for place in sorted(left) if _is(found[place], "correct")), None)
            if right is None:
                unmatched.append(found)
            else:
                left.remove(right)
        if not unmatched:
            return "correct", kind
        if any(all(_is(outcome, "incorrect") for outcome in found) for found in unmatched):
            return "incorrect", kind
        possible = [
            [found[place] for place in left if not _is(found[place], "incorrect")] for found in unmatched
        ]
        if any(outcome is None for found in outcomes for outcome in found):
            return None
        return ("ambiguous", kind) if all(possible) else ("incorrect", kind)


def _is(outcome: Outcome, verdict: str) -> bool:
    return outcome is not None and outcome[0] == verdict


def _all(outcomes: Iterable[Outcome], kind: str) -> Outcome:
    """The decision on a whole whose parts were decided."""
    worst: Outcome = ("correct", kind)
    for outcome in outcomes:
        if outcome is not None and outcome[0] == "incorrect":
            return "incorrect", kind
        if outcome is None or (outcome[0] == "ambiguous" and worst is not None):
            worst = outcome
    return worst


def _with_argument_of(wanted: Named, given: Named) -> Named:
    """`f(n) = n` with the argument's letter of `f(x) = x`."""
    ours, theirs = _FUNCTION.fullmatch(wanted.name), _FUNCTION.fullmatch(given.name)
    if not ours or not theirs or ours[2] == theirs[2]:
        return given
    text = re.sub(rf"(?<![A-Za-z\\]){theirs[2]}(?![A-Za-z])", ours[2], given.text)
    renamed = read_structure(text)
    return renamed if isinstance(renamed, Named) else given


def _is_numeric(span: Span) -> bool:
    return all(
        end is None or read_quantity(normalised(end.text)) is not None for end in (span.low, span.high)
    )


def _has_variable(node: Node) -> bool:
    return isinstance(node, Expression) and _VARIABLE.search(node.text) is not None


def _is_single_value(text: str) -> bool:
    """Whether an expression has one value: no variable, relation, set or dots in it."""
    return not (_VARIABLE.search(text) or _RELATION.search(text) or _MANY.search(text))


def _is_plain(text: str) -> bool:
    """Whether an expression is a number or a word, so that nothing in it can expand into a list."""
    return read_quantity(text) is not None or is_words(text)
