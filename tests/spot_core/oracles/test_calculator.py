import asyncio
import json
import os
import re
from pathlib import Path
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spot_core.demo.chains import (
    PLAIN,
    STEPS,
    STYLES,
    draw_chain,
    slipped_values,
    values_after,
    write_response,
)
from spot_core.oracles.base import Failure, Proposal
from spot_core.oracles.calculator import CalculatorOracle, tokenize


def propose(response: str, question: str = "") -> Proposal:
    failure = Failure("q", 0, question, "the Oracle must not look at this", response, [], [], "stop")
    [proposal] = asyncio.run(CalculatorOracle().propose(failure, earlier=(), attempt=1))
    return proposal


REPAIRED = {
    "demo chain": (
        "Compute 48+8-8.",
        "48+8=46\n46-8=38\nAnswer: \\boxed{38}",
        "48+8=56\n56-8=48\nAnswer: \\boxed{48}",
    ),
    "two slips of their own": (
        "Compute 48+8+7.",
        "48+8=46\n46+7=43\nAnswer: \\boxed{43}",
        "48+8=56\n56+7=63\nAnswer: \\boxed{63}",
    ),
    "brackets and semicolons": (
        "Compute 48+8-8. Use brackets.",
        "[48+8=46]; [46-8=38]; Answer: \\boxed{38} ok",
        "[48+8=56]; [56-8=48]; Answer: \\boxed{48} ok",
    ),
    "sentences": (
        "Compute 16 + 4 - 5.",
        "First, 16 + 4 = 18. Then, 18 - 5 = 11. The answer is \\boxed{11}.",
        "First, 16 + 4 = 20. Then, 20 - 5 = 15. The answer is \\boxed{15}.",
    ),
    "wrong value that the question also gives": (
        "Compute 19 + 4 - 7.",
        "First, 19 + 4 = 19. Then, 19 - 7 = 6. The answer is \\boxed{6}.",
        "First, 19 + 4 = 23. Then, 23 - 7 = 16. The answer is \\boxed{16}.",
    ),
    "wrong value equal to the next operand": (
        "Compute 5+4-8.",
        "5+4=8\n8-8=0\nAnswer: \\boxed{0}",
        "5+4=9\n9-8=1\nAnswer: \\boxed{1}",
    ),
    "first step right, second wrong": (
        "Compute 6 * 7 + 9.",
        "First, 6 * 7 = 42. Then, 42 + 9 = 41. The answer is \\boxed{41}.",
        "First, 6 * 7 = 42. Then, 42 + 9 = 51. The answer is \\boxed{51}.",
    ),
    "several operators": (
        "Compute 2 * 3 + 4.",
        "First, 2 * 3 = 5. Then, 2 * 3 + 4 = 9. The answer is \\boxed{9}.",
        "First, 2 * 3 = 6. Then, 2 * 3 + 4 = 10. The answer is \\boxed{10}.",
    ),
    "running totals": (
        "Compute 5+3+2+4.",
        "5 + 3 = 8 + 2 = 11 + 4 = 15\n\\boxed{15}",
        "5 + 3 = 8 + 2 = 10 + 4 = 14\n\\boxed{14}",
    ),
    "results that are joined later": (
        "Eggs: 6 boxes of 12 and 9 boxes of 7.",
        "6 × 12 = 74.\n9 × 7 = 63.\nSo 74 + 63 = 137.\nThen 137 ÷ 1 = 137.\n\\boxed{137}",
        "6 × 12 = 72.\n9 × 7 = 63.\nSo 72 + 63 = 135.\nThen 135 ÷ 1 = 135.\n\\boxed{135}",
    ),
    "negative values": (
        "Compute 4-16+8.",
        "4-16=-13\n-13+8=-5\n\\boxed{-5}",
        "4-16=-12\n-12+8=-4\n\\boxed{-4}",
    ),
    "thousands separators, LaTeX, the answer in the step": (
        "Compute 9 * 450 - 100.",
        "1. \\(9 \\times 450 = 4,150\\)\n2. \\(4,150 - 100 = \\boxed{4050}\\)",
        "1. \\(9 \\times 450 = 4,050\\)\n2. \\(4,050 - 100 = \\boxed{3950}\\)",
    ),
}


@pytest.mark.parametrize("case", REPAIRED)
def test_wrong_results_are_corrected_and_carried_and_nothing_else_is_touched(case):
    question, response, repaired = REPAIRED[case]
    assert propose(response, question).text == repaired
    assert propose(repaired, question).status == "unchanged"


RIGHT = r"""
2+3=5. 5*4=20. \boxed{20}
350/15=23, so 23-13=10. \boxed{10}
350/15=23.33 and 23.33-13=10. \boxed{10}
0.5 + 0.25 = 0.8. \boxed{0.8}
50-450=400. 400*2=800. \boxed{800}
$5 + 50 = $5.50. \boxed{5.50}
8 * 25 cents = $2. 2 * 3 = 6. \boxed{6}
2 hours + 30 minutes = 150 minutes. \boxed{150}
60 + 75 = 2 hours and 15 minutes. \boxed{2}
15/60*100 = 25%. 25 + 5 = 30. \boxed{30}
20% of 50 = 10. 50 - 20% = 40. \boxed{40}
5 + 3 * 2 = 16. 16 + 1 = 17. \boxed{17}
100 - 20 + 30 = 50. \boxed{50}
48 / 2 * 3 = 8. \boxed{8}
5 + 3 = 8 + 2 = 10. \boxed{10}
4 * 3 = 12 = 3 * 4. \boxed{12}
2x + 5 = 12, so x = 7/2 = 3. \boxed{3}
f(2) + 3 = 9 and sqrt(16) + 2 = 6. \boxed{6}
(3 + 4) * 2 = 14. 2(3 + 4) = 14. \boxed{14}
2^3 + 1 = 9, \frac{6}{2} + 1 = 4. \boxed{4}
2 1/2 * 3 = 7. \boxed{7}
5 + 4 = 2 (mod 7). \boxed{2}
17 ÷ 5 = 3 R 2. \boxed{3}
In binary, 1 + 1 = 10. \boxed{10}
10 + 5 = 3 o'clock, on a clock. \boxed{3}
The average of 80 + 90 + 100 = 90. \boxed{90}
The product of 3 and 4 + 2 = 14. \boxed{14}
On 3/4/2020 at 5:30 + 2 = 7:30. \boxed{7}
1 + 2 + ... + 10 = 55. \boxed{55}
1234 * 300 ≈ 370000. \boxed{370000}
- 5 + 3 = 8
Is 5 × 3 = 16? No, 5 × 3 = 15. \boxed{15}
We might guess 5 × 3 = 16, but that is wrong: 5 × 3 = 15. \boxed{15}
5 * 3 = 14... wait, 5 * 3 = 15. \boxed{15}
10 * 4 = 41 is what I had first. In fact 10 * 4 = 40, and 40 / 8 = 5. \boxed{5}
"""


@pytest.mark.parametrize("text", RIGHT.strip().split("\n"))
def test_a_right_text_is_left_alone(text):
    assert propose(text).text is None


REFUSED = {
    "nothing to read": ("The answer is obviously \\boxed{7}.", "no arithmetic step was found"),
    "no box": ("2+3=6. Then 6*2=12. The answer is 12.", "no final answer that is one number"),
    "cut off": ("2+3=6. Then 6*2=12, which", "no final answer that is one number"),
    "answer from elsewhere": ("2+3=6. Then 6*2=12. \\boxed{99}", "not the value of the last step"),
    "it does not matter": ("2+3=6. And, 7*2=14. \\boxed{14}", "does not reach the final answer"),
    "two steps that said the same": ("20+3=27. 14+12=27. 27+40=67. \\boxed{67}", "may be an earlier"),
    "given or derived": ("20+4=25. 30-25=5. 25*5=125. \\boxed{125}", "may be an earlier result or another"),
    "operand or result": (
        "2*9=18. 9+30=48. 48+20=69. \\boxed{69}",
        "either an operand or the result is wrong",
    ),
    "a sign left out": ("10-15=5. 20+4=23. \\boxed{23}", "may be meant in another way"),
    "a later step that cannot be read": ("20+25=44. x + 44 = 60. 44-4=40. \\boxed{40}", "cannot be read"),
    "a sentence says it too": ("2+30=33. There are 33 of them. 33*2=66. \\boxed{66}", "a sentence says 33"),
    "no whole number": ("20+5=26. 26/2=13. \\boxed{13}", "no whole number"),
    "division by zero": ("20-20=15. 30/15=2. \\boxed{2}", "cannot be computed"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_repaired_without_a_guess_is_said(case):
    response, reason = REFUSED[case]
    proposal = propose(response, question="There are 25 of them, and 40.")
    assert proposal.status == "unparseable"
    assert re.search(reason, proposal.reason)


def test_a_question_with_numbers_in_words_is_not_guessed_at():
    assert propose("20+3=22. 22*2=44. \\boxed{44}", "Compute it for 20 and 3.").text is not None
    assert propose("20+3=22. 22*2=44. \\boxed{44}", "Twenty-two men have 20 and 3.").text is None


@given(st.randoms(use_true_random=False), st.sampled_from([PLAIN, *STYLES.values()]), st.floats(0.1, 1))
def test_slipped_chains_of_the_demo_are_restored_in_every_style(rng: Random, style, rate):
    chain = draw_chain(rng, rng.choice(STEPS))
    question = chain.question + style.instruction
    right = values_after(chain.start, chain.steps)
    slipped = slipped_values(rng, chain, rate)
    proposal = propose(write_response(chain, slipped, style), question)
    if slipped[-1] == right[-1]:
        assert proposal.text is None
    else:
        assert proposal.text == write_response(chain, right, style)


chains = st.builds(
    lambda start, steps: (start, steps),
    st.integers(2, 99),
    st.lists(
        st.tuples(st.sampled_from("+-*"), st.integers(2, 9), st.sampled_from([0, 0, 1, -1, 10, -10])),
        min_size=2,
        max_size=6,
    ),
)


def write_sentences(start: int, steps, *, slips: bool) -> str:
    value, lines = start, []
    for operator, operand, slip in steps:
        result = {"+": value + operand, "-": value - operand, "*": value * operand}[operator]
        result += slip if slips else 0
        lines.append(f"Then, {value} {operator} {operand} = {result}.")
        value = result
    return " ".join([*lines, f"The answer is \\boxed{{{value}}}."])


@given(chains)
def test_any_chain_is_restored_or_refused_but_never_made_another(chain):
    start, steps = chain
    question = f"Compute {start}" + "".join(f"{operator}{operand}" for operator, operand, _ in steps) + "."
    right, wrong = (write_sentences(start, steps, slips=slips) for slips in (False, True))
    assert propose(wrong, question).text in ((None,) if right == wrong else (right, None))


@given(
    st.text(max_size=80)
    | st.text(alphabet="0123456789+-*/=()<>.,%$ x\n\\{}", max_size=60).map(
        lambda text: f"{text}\n2+9=12\n\\boxed{{12}}"
    )
)
def test_no_text_breaks_it_and_no_proposal_has_a_wrong_step(text):
    proposal = propose(text)
    if proposal.text is not None:
        assert propose(proposal.text).status == "unchanged"


@given(st.text(max_size=60))
def test_tokens_are_slices_of_the_text_in_order(text):
    position = 0
    for token in tokenize(text):
        assert position <= token.start <= token.end
        assert token.value is None or text[token.start : token.end] == token.text
        position = token.end


@pytest.mark.parametrize(
    "hostile",
    [
        "5/0=1. ",
        "9^9^9=1. ",
        "1" * 50_000 + "+1=2. ",
        f"{'9' * 39}*{'9' * 39}=1. ",
        "(" * 5000 + "1+1" + ")" * 5000 + "=3. ",
        "1+" * 5000 + "1=3. ",
        "1+2=1" + "+1" * 5000 + ". ",
        "1=" * 5000,
        "2+2=5. " * 3000,
        "2+2=4. " * 150,
        "a " * 20_000 + "= 5. ",
    ],
)
@pytest.mark.timeout(60)
def test_hostile_steps_take_no_time_and_give_no_nonsense(hostile):
    proposal = propose(hostile + "10+1=12. 12+1=13. \\boxed{13}")
    assert proposal.text in (None, hostile + "10+1=11. 11+1=12. \\boxed{12}")


def shared_rows(name: str) -> list[dict]:
    folder = os.environ.get("SPOT_SHARED_DATA")
    if not folder:
        pytest.skip("SPOT_SHARED_DATA does not name the folder with the real responses")
    text = (Path(folder) / f"{name}.jsonl").read_text(encoding="utf-8")
    return [json.loads(line) for line in text.splitlines()]


def with_box(response: str) -> str:
    """Without annotations, and with its answer in a box: so that more of it can be read."""
    text = re.sub(r"<<[^<>]*>>", "", response)
    return re.sub(r"(?m)^(?:A:|####) *(\S+) *$", r"The answer is \\boxed{\1}.", text)


def test_no_right_real_response_is_altered():
    rows = shared_rows("gsm8k_model_solutions_400") + shared_rows("math_model_solutions")
    right = [(row["response"], row["question"]) for row in rows if row["is_correct"]]
    right += [(row["solution"], "") for row in shared_rows("gsm8k_train_500_solutions")]
    assert len(right) > 700
    for response, question in right:
        for text in (response, with_box(response)):
            assert propose(text, question).text is None
