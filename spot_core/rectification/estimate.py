"""What asking the Oracles will take, told before the first call."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from spot_core.markdown import block, table
from spot_core.oracles.base import Failure, Oracle
from spot_core.oracles.model import ModelOracle

_MOST_PROMPT = 50_000  # characters of the prompt on the page: all of it, unless something is wrong with it


@dataclass(frozen=True, slots=True)
class OracleEstimate:
    """Calls and tokens of one Oracle that is a model, if every failure comes to it and is asked about once.

    Attributes:
        calls: first calls to make; what was answered before is not asked again.
        most_calls: if every attempt is needed.
        usd: of the first calls; None where the price is not known.
        limits: the Oracle's budget, in words; empty if it has none.
    """

    oracle: str
    calls: int
    most_calls: int
    input_tokens: int
    output_tokens: int
    usd: float | None
    limits: str


@dataclass(frozen=True, slots=True)
class Estimate:
    """The estimates of all Oracles that are models, and the first prompt as it will be sent."""

    failures: int
    oracles: Sequence[OracleEstimate]
    first_prompt: str

    @property
    def usd(self) -> float:
        """What it will cost about, as far as prices are known."""
        return sum(oracle.usd or 0.0 for oracle in self.oracles)

    def __str__(self) -> str:
        lines = []
        for one in self.oracles:
            cost = "price not known" if one.usd is None else f"about ${one.usd:,.2f}"
            lines.append(
                f"{one.oracle}: {one.calls:,} calls (at most {one.most_calls:,}), about {one.input_tokens:,} tokens "
                f"read and {one.output_tokens:,} written, {cost}"
                + (f", limited to {one.limits}" * bool(one.limits))
            )
        return "; ".join(lines)

    def markdown(self) -> str:
        """Returns the page for the Prefect UI: a line for each Oracle that is a model, and the whole first prompt."""
        header = ["Oracle", "calls", "at most", "tokens read", "tokens written", "cost", "limit"]
        rows = [
            (
                one.oracle,
                f"{one.calls:,}",
                f"{one.most_calls:,}",
                f"{one.input_tokens:,}",
                f"{one.output_tokens:,}",
                "price not known" if one.usd is None else f"about ${one.usd:,.2f}",
                one.limits or "none",
            )
            for one in self.oracles
        ]
        note = (
            f"For {self.failures:,} failures, if each is asked about once; `at most` counts every attempt. What was "
            "answered before is not asked again. Tokens are estimates."
        )
        return (
            f"# Before the first call: about ${self.usd:,.2f}\n\n{table(header, rows)}\n\n{note}\n\n"
            f"## The first prompt\n\n{block(self.first_prompt, most=_MOST_PROMPT)}"
        )


def estimate(failures: Iterable[Failure], oracles: Sequence[Oracle]) -> Estimate | None:
    """The estimate for these failures; None if no Oracle is a model or there is nothing to ask."""
    models = [oracle for oracle in oracles if isinstance(oracle, ModelOracle)]
    if not models or not (failures := list(failures)):
        return None
    return Estimate(
        failures=len(failures),
        oracles=[_of(oracle, failures) for oracle in models],
        first_prompt=models[0].prompt.render(failures[0]),
    )


def _of(oracle: ModelOracle, failures: Sequence[Failure]) -> OracleEstimate:
    calls = read = written = 0
    for failure in failures:
        unknown = oracle.samples - oracle.known(failure)
        tokens_read, tokens_written = oracle.expected(failure) if unknown else (0, 0)
        calls += unknown
        read += unknown * tokens_read
        written += unknown * tokens_written
    most = len(failures) * oracle.samples * oracle.attempts
    return OracleEstimate(
        oracle=oracle.name,
        calls=calls,
        most_calls=most - (len(failures) * oracle.samples - calls),
        input_tokens=read,
        output_tokens=written,
        usd=None if oracle.price is None else oracle.price.of(read, written),
        limits=oracle.budget.limits,
    )
