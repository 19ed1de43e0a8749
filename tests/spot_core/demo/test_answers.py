"""Every generated answer, worked out a second time by other means."""

import ast
import operator
import re

import pytest

from spot_core.demo import generate
from spot_core.demo.items import SPLITS

OPERATORS = {ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul}


def arithmetic(text):
    """Value of a Python arithmetic expression, by walking its syntax tree."""

    def value(node):
        if isinstance(node, ast.BinOp):
            return OPERATORS[type(node.op)](value(node.left), value(node.right))
        assert isinstance(node, ast.Constant)
        return node.value

    return value(ast.parse(text, mode="eval").body)


def rows_of_both_splits(name, count):
    return [row for split in SPLITS for row in generate(name, count=count, seed=11, split=split)]


@pytest.mark.parametrize("name", ["demo-chains", "two-step", "two-step-untrained"])
def test_computed_answers_are_the_value_of_the_expression(name):
    for row in rows_of_both_splits(name, 600):
        expression = re.fullmatch(r"Compute ([\d +*-]+)\.", row["question"])[1]
        assert row["answer"] == str(arithmetic(expression))


@pytest.mark.parametrize("name", ["two-step", "two-step-untrained"])
def test_two_step_questions_are_of_the_kind_they_name(name):
    for row in rows_of_both_splits(name, 300):
        kind = row["source_id"].split("/")[1]
        first, second = re.findall(r" ([+*-]) ", row["question"])
        assert kind == f"a{first}b{second}c"
        assert int(row["answer"]) >= 0


def test_chains_stay_within_two_digits_at_every_step():
    for row in rows_of_both_splits("demo-chains", 600):
        terms = [int(term) for term in re.findall(r"[+-]?\d+", row["question"])]
        sums = [sum(terms[:end]) for end in range(1, len(terms) + 1)]
        assert 2 <= terms[0] <= 99 and all(2 <= abs(term) <= 9 for term in terms[1:])
        assert min(sums) >= 0 and max(sums) <= 99
        assert row["source_id"].split("/")[1] == f"steps-{len(terms) - 1}" and 4 <= len(terms) <= 7


def test_word_problems_follow_their_story():
    for row in rows_of_both_splits("two-step-words", 600):
        x, y, z = map(int, re.findall(r"\d+", row["question"]))
        expected = {
            "gain-loss": x + y - z,
            "groups-extra": x * y + z,
        }[row["source_id"].split("/")[1]]
        assert row["answer"] == str(expected) and expected >= 0


STRING_ANSWERS = {
    "Copy": lambda word: word,
    "Reverse": lambda word: "".join(reversed(word)),
    "Sort": lambda word: "".join(sorted(word)),
    "Upper": str.upper,
    "Max": lambda *numbers: max(numbers, key=int),
    "Repeat": lambda word, times, _: word * int(times),
}


def test_string_answers_follow_their_instruction():
    for row in rows_of_both_splits("demo-strings", 1200):
        task, *words = row["question"].removesuffix(".").split(" ")
        assert row["answer"] == STRING_ANSWERS[task](*words) == row["answer"].strip()
