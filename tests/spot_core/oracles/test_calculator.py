import asyncio
import json
import os
import statistics
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spot_core.change_ratio import change_ratio
from spot_core.oracles.arithmetic.finding import find_equations
from spot_core.oracles.arithmetic.judging import Verdict, judge_all
from spot_core.oracles.base import Failure, Proposal
from spot_core.oracles.calculator import CalculatorOracle


def propose(response: str, question: str = "") -> Proposal:
    failure = Failure("q", 0, question, "the Oracle must not look at this", response, [], [], "stop")
    [proposal] = asyncio.run(CalculatorOracle().propose(failure, earlier=(), attempt=1))
    return proposal


def verdicts(text: str, question: str = "") -> list[Verdict]:
    return [judgement.verdict for judgement in judge_all(find_equations(text), text, question)]


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
    "units between operand and operator": (
        "A tank has 26 fish and gets 6 more. Each is sold at $1.50.",
        "There are 26 fish + 6 more fish = 33 fish. The 33 fish bring 33 fish * $1.50/fish = $49.50.\n#### 49.50",
        "There are 26 fish + 6 more fish = 32 fish. The 32 fish bring 32 fish * $1.50/fish = $48.00.\n#### 48.00",
    ),
    "annotations and thousands separators": (
        "Three people pay $450 each. 300 are given back.",
        "They pay 3 * $450 = $<<3*450=1350>>1,250.\nLeft are $1,250 - $300 = $<<1250-300=950>>950.\nA: 950",
        "They pay 3 * $450 = $<<3*450=1350>>1,350.\nLeft are $1,350 - $300 = $<<1350-300=1050>>1050.\nA: 1050",
    ),
    "percent of": (
        "20% of 50 are sold.",
        "20% of 50 = 12. So 50 - 12 = 38 are left.\nAnswer: 38",
        "20% of 50 = 10. So 50 - 10 = 40 are left.\nAnswer: 40",
    ),
    "LaTeX, chained equality": (
        "x",
        "\\[ 16 \\times (2 + 2) = 16 \\times 4 = 62 \\]\nThen \\( \\frac{62}{2} = 31 \\), so \\boxed{31}.",
        "\\[ 16 \\times (2 + 2) = 16 \\times 4 = 64 \\]\nThen \\( \\frac{64}{2} = 32 \\), so \\boxed{32}.",
    ),
    "more than two operands, parentheses": (
        "x",
        "(3 + 4) * 2 + 10 = 25, and 25 x 3 = 75. #### 75",
        "(3 + 4) * 2 + 10 = 24, and 24 x 3 = 72. #### 72",
    ),
    "decimals as short as exact": (
        "x",
        "7 * 6 = 43. Half is 43 / 2 = 21.5. Answer: 21.5",
        "7 * 6 = 42. Half is 42 / 2 = 21. Answer: 21",
    ),
    "rounded the way the text rounds": (
        "x",
        "4 * 25 = 110. 110 / 7 = 15.71. 15.71 + 1 = 16.71. Answer: 16.71",
        "4 * 25 = 100. 100 / 7 = 14.29. 14.29 + 1 = 15.29. Answer: 15.29",
    ),
    "negative values": (
        "Compute 5 * 3, then 4 minus it, then 20 plus it.",
        "5 * 3 = 16\n4 - 16 = -12\n20 + -12 = 8\nThe answer is 8.",
        "5 * 3 = 15\n4 - 15 = -11\n20 + -11 = 9\nThe answer is 9.",
    ),
    "result announced before its step": (
        "x",
        "The total is 44 because 20+25=44. Twice that is 44*2=88. #### 88",
        "The total is 45 because 20+25=45. Twice that is 45*2=90. #### 90",
    ),
    "numbered lines, bold": (
        "x",
        "1. **13 + 9** = **21**\n2. 21 - 3 = **18**\n\n**Answer:** 18",
        "1. **13 + 9** = **22**\n2. 22 - 3 = **19**\n\n**Answer:** 19",
    ),
    "side calculation joined later": (
        "Eggs: 6 boxes of 12 and 9 boxes of 7.",
        "6*12=74 and 9*7=63. Together 74+63=137.\n#### 137",
        "6*12=72 and 9*7=63. Together 72+63=135.\n#### 135",
    ),
    "a simplification in the middle": (
        "x",
        "\\[ 3 \\times 15 + 2 \\times 5 = 45 + 12 = 57 \\] so \\boxed{57}",
        "\\[ 3 \\times 15 + 2 \\times 5 = 45 + 10 = 55 \\] so \\boxed{55}",
    ),
    "a part of a chain that is used later": (
        "x",
        "3 × 15 + 20 = 55 + 20 = 75. The 55 are shared: 55 / 5 = 11. So 75 + 11 = 86. Answer: 86",
        "3 × 15 + 20 = 45 + 20 = 65. The 45 are shared: 45 / 5 = 9. So 65 + 9 = 74. Answer: 74",
    ),
    "a changed operand through a chain": (
        "x",
        "20 + 25 = 44. 3 × 44 + 2 × 5 = 132 + 10 = 142. Answer: 142",
        "20 + 25 = 45. 3 × 45 + 2 × 5 = 135 + 10 = 145. Answer: 145",
    ),
    "running totals": (
        "x",
        "5 + 3 = 8 + 2 = 11 + 4 = 15. Then 15 × 2 = 30. Answer: 30",
        "5 + 3 = 8 + 2 = 10 + 4 = 14. Then 14 × 2 = 28. Answer: 28",
    ),
    "said in words": (
        "x",
        "The total is 20 plus 25, which is 44. So 44 times 2 makes 88. The answer is 88.",
        "The total is 20 plus 25, which is 45. So 45 times 2 makes 90. The answer is 90.",
    ),
    "gives": (
        "x",
        "20 + 25 gives us 44. 44 - 4 is 40. Therefore, he has 40 apples.",
        "20 + 25 gives us 45. 45 - 4 is 41. Therefore, he has 41 apples.",
    ),
    "percent in words": (
        "x",
        "20% of 50 is 12. So 50 - 12 = 38. **Answer:** 38",
        "20% of 50 is 10. So 50 - 10 = 40. **Answer:** 40",
    ),
    "mixed numbers": ("x", "2 1/2 × 3 = 8 1/2 cups. Answer: 8 1/2", "2 1/2 × 3 = 7 1/2 cups. Answer: 7 1/2"),
    "mixed numbers in LaTeX": (
        "x",
        "\\(2\\frac{1}{2} + 1\\frac{1}{4} = 3\\frac{1}{4}\\). \\boxed{3\\frac{1}{4}}",
        "\\(2\\frac{1}{2} + 1\\frac{1}{4} = 3\\frac{3}{4}\\). \\boxed{3\\frac{3}{4}}",
    ),
    "fractions in LaTeX": (
        "x",
        "\\[\\frac{2}{3}+\\frac{1}{6}=\\frac{4}{6}+\\frac{1}{6}=\\frac{5}{7}\\] \\boxed{\\frac{5}{7}}",
        "\\[\\frac{2}{3}+\\frac{1}{6}=\\frac{4}{6}+\\frac{1}{6}=\\frac{5}{6}\\] \\boxed{\\frac{5}{6}}",
    ),
    "aligned over lines": (
        "x",
        "\\begin{align*}\n\\text{Total} &= 20 + 25 \\\\\n&= 44\n\\end{align*}\nSo \\boxed{44}.",
        "\\begin{align*}\n\\text{Total} &= 20 + 25 \\\\\n&= 45\n\\end{align*}\nSo \\boxed{45}.",
    ),
    "a right annotation, a wrong repetition": (
        "x",
        "80000*.5=$<<80000*.5=40000.0>>4,000\n4,000+1,000=$<<4000+1000=5000>>5,000\nA: 5,000",
        "80000*.5=$<<80000*.5=40000.0>>40,000\n40,000+1,000=$<<40000+1000=41000>>41,000\nA: 41,000",
    ),
    "squared units in the box": (
        "x",
        "The area is 4 × 5 = 22 square meters, so \\boxed{22 \\text{ m}^2}.",
        "The area is 4 × 5 = 20 square meters, so \\boxed{20 \\text{ m}^2}.",
    ),
    "the answer is no last step": (
        "x",
        "12 × 3 = 38 eggs. Check: 5 + 5 = 10.\nAnswer: 38 eggs",
        "12 × 3 = 36 eggs. Check: 5 + 5 = 10.\nAnswer: 36 eggs",
    ),
    "the answer is the end of the text": ("x", "7 × 8 = 54\n54 + 46 = 100", "7 × 8 = 56\n56 + 46 = 102"),
    "tagged answer": (
        "x",
        "7 x 8 = 54\nThus 54 + 46 = 100\n<answer>100</answer>",
        "7 x 8 = 56\nThus 56 + 46 = 102\n<answer>102</answer>",
    ),
    "a sentence says the rounded answer": (
        "The tree costs $90 and brings $10.5 a year, and $3 are for water.",
        "10.5 − 3 = 8.5 a year. 90 ÷ 8.5 = 10.59. So it takes 11 years. The answer is 11.",
        "10.5 − 3 = 7.5 a year. 90 ÷ 7.5 = 12. So it takes 12 years. The answer is 12.",
    ),
    "taken back at once": (
        "x",
        "20 + 25 = 44? No: 45. So 20 + 25 = 45, and 45 * 2 = 92. \\boxed{92}",
        "20 + 25 = 44? No: 45. So 20 + 25 = 45, and 45 * 2 = 90. \\boxed{90}",
    ),
    "a percentage of the question": (
        "A coat of $240 is reduced by 15%.",
        "$240 × 0.15 = $38. $240 − $38 = $202. The price is $202.",
        "$240 × 0.15 = $36. $240 − $36 = $204. The price is $204.",
    ),
}


@pytest.mark.parametrize("case", REPAIRED)
def test_wrong_steps_are_corrected_and_carried_and_nothing_else_is_touched(case):
    question, response, repaired = REPAIRED[case]
    assert propose(response, question).text == repaired
    assert propose(repaired, question).status == "unchanged"


LEFT_ALONE = {
    "all right": "2+3=5. 5*4=20. Answer: \\boxed{20}",
    "rounded": "350/15=23.33, so 23 boxes. 23-13=10. A: 10",
    "rounded in an annotation": "He buys 350/15=<<350/15=23.333333333333332>>23. 23-13=<<23-13=10>>10\nA: 10",
    "floating-point noise": "0.0375/0.75 = 0.049999999999999996. Answer: 0.05",
    "sign left out": "50-450=400. 400*2=800. A: 800",
    "cents and dollars": "8 * 25 cents = $2. 2 * 3 = 6. A: 6",
    "minutes": "2 hours + 1 hour = 180 minutes. 180 / 2 = 90. A: 90",
    "percent as a plain number": "15/60*100 = 25%. 25 + 5 = 30. A: 30",
    "from left to right": "5 + 3 * 2 = 16. 16 + 1 = 17. A: 17",
    "run-on equality": "5 + 3 = 8 + 2 = 10. A: 10",
    "colloquial percent": "$100 - 20% = $80. 80 * 2 = 160. A: 160",
    "misprinted operand": "287 x 4 = 1,148 points. 10 x 1,248 = 11,480. A: 11480",
    "symbols": "2x + 5 = 12, so x = 7/2 = 3.5. Answer: 3.5",
    "function": "f(2) + 3 = 9 and sqrt(16) + 2 = 6. 9 + 6 = 15. Answer: 15",
    "two units": "5 feet 10 inches + 4 inches = 6 feet 2 inches. 6 + 1 = 7. A: 7",
    "mixed number": "2 1/2 * 3 = 7.5. 7.5 + 1 = 8.5. A: 8.5",
    "pi with more digits": "2 * 3.14159 * 9 = 56.54867. 56.54867 - 6 = 50.54867. A: 50.54867",
    "modulo": "17 mod 5 = 2. 2 + 1 = 3. A: 3",
    "dates and times": "On 3/4/2020 at 5:30 + 2 = 7:30. 7 + 1 = 8. A: 8",
    "bullets": "- 5 + 3 = 8\n* 8 - 2 = 6\n1) 6 + 1 = 7\nA: 7",
    "dozens": "2 dozen + 1 dozen = 36. 36 / 6 = 6. A: 6",
}


@pytest.mark.parametrize("case", LEFT_ALONE)
def test_what_is_right_in_some_reading_is_left_alone(case):
    assert propose(LEFT_ALONE[case]).text is None


UNREPAIRABLE = {
    "no arithmetic": ("The answer is obviously \\boxed{7}.", "no arithmetic step was found"),
    "cut off": ("2+3=6. Then 6*2=12 apples are in the", "no final answer"),
    "answer from elsewhere": ("2+3=6. Then 6*2=12. \\boxed{99}", "not the value of the last step"),
    "does not matter": ("2+3=6. And 7*2=14. \\boxed{14}", "does not reach the final answer"),
    "two origins": ("20+3=27. 14+13=27. 27-27-9=-9. 20-9=11. \\boxed{11}", "may be an earlier result"),
    "unreadable later step": ("20+25=44. x + 44 = 60. 60-44=16. \\boxed{16}", "cannot be read"),
    "follows from an unclear step": ("9-12=3. 3*7=22. \\boxed{22}", "follows from a step that is not clear"),
    "follows from an unreadable step": (
        "3 dozen + 5 = 30. 30*2=62. \\boxed{62}",
        "follows from a step that is not clear",
    ),
    "given or derived": ("2+4=5. 10-5=5. 5*5=25. \\boxed{25}", "may be an earlier result or another number"),
    "result or constant": (
        "3+3=7. 7*2=14. 14/7=2. 7+2=9. \\boxed{9}",
        "may be an earlier result or another number",
    ),
    "operand or result": (
        "2*9 = 18. 9+3 = 21. 18+3 = 22. \\boxed{22}",
        "either an operand or the result is wrong",
    ),
    "a sentence that may mean something else": (
        "2+3=6. There are 6 of them. 6*7=42. \\boxed{42}",
        "a sentence says 6",
    ),
}


@pytest.mark.parametrize("case", UNREPAIRABLE)
def test_what_cannot_be_repaired_without_a_guess_is_said(case):
    response, reason = UNREPAIRABLE[case]
    proposal = propose(response, question="There are 6 of them.")
    assert proposal.status == "unparseable"
    assert reason in proposal.reason


@pytest.mark.parametrize(
    "hostile",
    [
        "5/0=1. ",
        "9^9^9=1. ",
        "0^-1=1. ",
        "1" * 50_000 + "+1=2. ",
        "(" * 5000 + "1+1" + ")" * 5000 + "=3. ",
        "1+" * 5000 + "1=3. ",
        "1+2=1" + "+1" * 5000 + ". ",
        "2+2=4. " * 3000,
        "a " * 20_000 + "= 5. ",
    ],
)
@pytest.mark.timeout(60)
def test_hostile_steps_are_stepped_over(hostile):
    proposal = propose(hostile + "10+1=12. 12+1=13. \\boxed{13}")
    if proposal.text is not None:
        assert proposal.text == hostile + "10+1=11. 11+1=12. \\boxed{12}"


chains = st.builds(
    lambda start, steps: (start, steps),
    st.integers(2, 99),
    st.lists(
        st.tuples(st.sampled_from("+-*"), st.integers(2, 9), st.sampled_from([0, 0, 1, -1, 10, -10])),
        min_size=2,
        max_size=6,
    ),
)


def write(start: int, steps, slips: bool, style: str) -> str:
    """A chain of steps in a demo-like or a prose style; with slips, later steps go on from the wrong value."""
    value, lines = start, []
    for operator, operand, slip in steps:
        result = {"+": value + operand, "-": value - operand, "*": value * operand}[operator]
        result += slip if slips else 0
        lines.append(
            f"{value}{operator}{operand}={result}"
            if style == "demo"
            else f"Then, {value} {operator} {operand} = {result}."
        )
        value = result
    if style == "demo":
        return "\n".join([*lines, f"Answer: \\boxed{{{value}}}"])
    return " ".join([*lines, f"The answer is \\boxed{{{value}}}."])


@given(chains, st.sampled_from(["demo", "prose"]))
def test_any_chain_with_slips_is_restored_or_refused_but_never_made_another(chain, style):
    start, steps = chain
    question = f"Compute {start}" + "".join(f"{operator}{operand}" for operator, operand, _ in steps) + "."
    right, wrong = (write(start, steps, slips, style) for slips in (False, True))
    if right == wrong:
        assert propose(right, question).status == "unchanged"
        return
    proposal = propose(wrong, question)
    assert proposal.text in (right, None)


@given(st.text(max_size=80) | st.text(alphabet="0123456789+-*/=()<>.,%$ x\n\\{}A:boxed", max_size=80))
def test_no_text_breaks_it(text):
    proposal = propose(text)
    if proposal.text is not None:
        assert Verdict.FALSE not in verdicts(proposal.text)


def shared_rows(name: str) -> list[dict]:
    folder = os.environ.get("SPOT_SHARED_DATA")
    if not folder:
        pytest.skip("SPOT_SHARED_DATA does not name the folder with the real responses")
    path = Path(folder) / name
    if not path.exists():
        pytest.skip(f"{path} is not there")
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_no_correct_real_response_is_altered():
    rows = shared_rows("gsm8k_model_solutions_400.jsonl") + shared_rows("math_model_solutions.jsonl")
    right = [row for row in rows if row["is_correct"]]
    assert len(right) > 200
    assert [row["id"] for row in right if propose(row["response"], row["question"]).text is not None] == []


def test_reference_solutions_are_read_and_found_right():
    solutions = [row["solution"] for row in shared_rows("gsm8k_train_500_solutions.jsonl")]
    found = [verdict for solution in solutions for verdict in verdicts(solution)]
    assert len(found) > 1650
    assert Verdict.FALSE not in found
    assert found.count(Verdict.UNCLEAR) <= 5
    assert [solution for solution in solutions if propose(solution).text is not None] == []


def test_edits_of_real_wrong_responses_are_small():
    rows = [row for row in shared_rows("gsm8k_model_solutions_400.jsonl") if not row["is_correct"]]
    edits = [(row["response"], propose(row["response"], row["question"]).text) for row in rows]
    ratios = [change_ratio(old.split(), new.split()) for old, new in edits if new is not None]
    assert ratios
    assert statistics.median(ratios) < 0.2
