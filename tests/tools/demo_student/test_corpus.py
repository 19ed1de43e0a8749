"""The pre-training text: seeded, right but for the slips, and free of evaluation questions."""

import re
from itertools import islice

from spot_core.demo import GENERATORS, generate
from spot_core.demo.chains import STYLES
from tools.demo_student.corpus import FAMILY_SHARES, training_pairs

PAIRS = list(islice(training_pairs(0), 30_000))


def is_chain(question):
    return question.startswith("Compute ")


def has_instruction(question):
    return question.endswith(tuple(style.instruction for style in STYLES.values()))


def test_same_seed_gives_same_text_and_other_seed_other_text():
    assert PAIRS[:500] == list(islice(training_pairs(0), 500))
    assert PAIRS[:500] != list(islice(training_pairs(1), 500))


def test_no_evaluation_question_is_in_the_text():
    text = {question for question, _ in PAIRS}
    for name in GENERATORS:
        rows = generate(name, count=700, seed=0, split="evaluation")
        assert text.isdisjoint(row["question"] for row in rows)


def test_families_have_their_shares():
    chains = sum(is_chain(question) and not has_instruction(question) for question, _ in PAIRS)
    styled = sum(is_chain(question) and has_instruction(question) for question, _ in PAIRS)
    assert abs(chains / len(PAIRS) - FAMILY_SHARES["chains"]) < 0.01
    assert abs(styled / len(PAIRS) - FAMILY_SHARES["format"]) < 0.01
    assert sum(FAMILY_SHARES.values()) == 1


def test_about_two_carries_in_five_are_forgotten_and_nothing_else_is_wrong():
    forgotten = carries = 0
    for question, response in PAIRS:
        if not is_chain(question):
            continue
        for left, operator, operand, value in re.findall(r"(\d+)([+-])(\d+)=(\d+)", response):
            true = int(left) + int(f"{operator}{operand}")
            carries += true // 10 != int(left) // 10
            if int(value) != true:
                forgotten += 1
                assert int(value) % 10 == true % 10 and int(value) // 10 == int(left) // 10
    assert 0.34 < forgotten / carries < 0.42
