"""What is checked: labelled rows from the shared data, and nasty rows made here."""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise

from benchmarks.shared_data import shared_rows

_GOLDS = (
    "math500_150",
    "aime24",
    "amc23",
    "minerva_100",
    "olympiadbench_100",
    "gsm8k_test_200",
    "gsm8k_train_500",
    "mawps_singleop_200",
)
_SCIENTIFIC = re.compile(r"(-?[\d.]+)e([-+]?\d+)")


@dataclass(frozen=True)
class Case:
    """One response, the gold answer, and whether the response is right."""

    response: str
    gold: str
    right: bool


def labelled() -> dict[str, list[Case]]:
    """Every labelled row, by the set it is from."""
    checks = shared_rows("answer_check_cases")
    return {
        "real responses, GSM8K": _real("gsm8k_model_solutions_400"),
        "real responses, MATH": _real("math_model_solutions"),
        **{
            f"cases, {tier}": [
                Case(row["prediction"], row["gold"], row["expected"]) for row in checks if row["tier"] == tier
            ]
            for tier in ("clear", "debatable")
        },
        "Python notation against LaTeX": list(_notations()),
        "gold against itself": [Case(_boxed(gold), gold, True) for gold in _golds()],
        "gold against another": list(_neighbours()),
    }


def real_responses() -> list[Case]:
    """What speed is measured on."""
    return _real("gsm8k_model_solutions_400") + _real("math_model_solutions")


def _real(name: str) -> list[Case]:
    return [
        Case(row["response"], row["answer"], row["is_correct"])
        for row in shared_rows(name)
        if not row.get("label_error")
    ]


def _golds() -> Iterator[str]:
    for name in _GOLDS:
        for row in shared_rows(name):
            yield row["answer"]


def _neighbours() -> Iterator[Case]:
    """The answer to the question before, where it plainly is another one."""
    for before, gold in pairwise(_golds()):
        if _bare(before) != _bare(gold):
            yield Case(_boxed(before), gold, False)


def _bare(gold: str) -> str:
    bare = re.sub(r"[\s$,{}]|\\!|\\text|\\d(?=frac)|\.0+$|^0+(?=\d)", "", gold).lower()
    try:
        return str(float(bare))
    except ValueError:
        return bare


def _notations() -> Iterator[Case]:
    """Golds as Python writes them: the same number in LaTeX, and ten times that."""
    for row in shared_rows("minerva_100"):
        if match := _SCIENTIFIC.fullmatch(row["answer"]):
            mantissa, exponent = match[1], int(match[2])
            for shift, right in ((0, True), (1, False)):
                yield Case(
                    _boxed(rf"{mantissa} \times 10^{{{exponent + shift}}}"), row["answer"], right=right
                )


def _boxed(answer: str) -> str:
    return rf"Therefore the answer is $\boxed{{{answer.strip().strip('$')}}}$."


def nasty() -> dict[str, Case]:
    """Answers a model can write that keep a computer algebra system busy; whether they are right is not asked."""
    radicals = "x"
    for number in range(2, 26):
        radicals = rf"\sqrt{{{number}+{radicals}}}"
    product = "".join(f"(x+{n})" for n in range(1, 81))
    pairs = {
        "a tower of powers": ("9^{9^{9^9}}", "9^{9^{9^8}}"),
        "a tower in a fraction": (r"\dfrac{7^{(7^{(7^{(7^7)})} - 6)} - 7}{36}", "7"),
        "a tower plus x": ("9^{9^{9^{9^{9}}}}+x", "x"),
        "a large power": ("3^{100000000}", "3^{100000001}"),
        "a large factorial": ("10000000!", "10000001!"),
        "a factorial of a factorial": ("(12!)!", "(12!)!+1"),
        "a large binomial": (r"\binom{10000000}{5000000}", r"\binom{10000000}{4999999}"),
        "a long sum": (r"\sum_{k=1}^{1000000} \frac{1}{k^2+k+1}", r"\frac{1}{2}"),
        "a hard integral": (r"\int_0^1 e^{-x^7} \sin(x^3) \cos(x^5) dx", r"\frac{1}{3}"),
        "a hard limit": (r"\lim_{x \to 0} \frac{\sin(\tan x) - \tan(\sin x)}{x^7}", "-1/30"),
        "nested radicals": (radicals, radicals.replace("25", "26")),
        "a long product": (product, f"{product}+x"),
        "a high power of a polynomial": ("(1+x+y+z)^{60}", "(1+x+y+z)^{60}+x"),
        "a polynomial of high degree": (
            "+".join(f"{n}x^{{{n}}}" for n in range(300)),
            "+".join(f"{n}x^{{{n}}}" for n in range(1, 301)),
        ),
        "an identity of cosines": (
            "+".join(rf"\cos(\frac{{{n}\pi}}{{97}})" for n in range(1, 97, 2)),
            r"\frac{1}{2}",
        ),
        "a rational function": (
            "+".join(rf"\frac{{{n}}}{{x^2+{n}x+{n * n}}}" for n in range(1, 25)),
            r"\frac{1}{x}",
        ),
        "many braces": ("{" * 3000 + "7" + "}" * 3000, "8"),
        "many parentheses": ("(" * 300 + "x" + ")" * 300, "y"),
        "many signs": ("-" * 2000 + "x", "x"),
        "many digits": ("7" * 100_000 + "+x", "7" * 1_000 + "+x"),
        "a long list": (", ".join(map(str, range(400))), ", ".join(map(str, range(1, 401)))),
        "a long list of sums": (
            ", ".join(rf"x_{{{n}}}+\sqrt{{{n}}}" for n in range(60)),
            ", ".join(rf"x_{{{n}}}+\sqrt{{{n}}}" for n in range(59, -1, -1)),
        ),
        "a long union": (
            r"\cup".join(f"({n},{n + 1})" for n in range(0, 160, 2)),
            r"\cup".join(f"({n},{n + 1}]" for n in range(0, 160, 2)),
        ),
        "a large matrix": (
            _matrix(lambda row, column: f"x^{{{row}}}+{column}"),
            _matrix(lambda row, column: f"x^{{{row}}}+{column + 1}"),
        ),
        "many boxes": (r"1}$ and $\boxed{".join(["2"] * 500), "3"),
    }
    return {name: Case(_boxed(answer), gold, right=False) for name, (answer, gold) in pairs.items()}


def _matrix(entry: Callable[[int, int], str]) -> str:
    rows = r" \\ ".join(" & ".join(entry(row, column) for column in range(14)) for row in range(14))
    return rf"\begin{{pmatrix}} {rows} \end{{pmatrix}}"
