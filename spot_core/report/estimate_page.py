"""What asking the Oracles will take, as Markdown: calls, tokens, money, and the first prompt as it will be sent."""

from spot_core.rectification.estimate import Estimate, OracleEstimate
from spot_core.report.markdown import block, table

_MOST_PROMPT = 50_000  # characters of the prompt that are shown: all of it, unless something is wrong with it


def estimate_page(told: Estimate) -> str:
    """A table with a row for each Oracle that is a model, and the whole first prompt."""
    header = ["Oracle", "calls", "at most", "tokens read", "tokens written", "cost", "limit"]
    rows = [_row(one) for one in told.oracles]
    note = (
        f"For {told.failures:,} failures, if each is asked about once; `at most` counts every attempt. What was answered "
        "before is not asked again. Tokens are estimates."
    )
    return (
        f"# Before the first call: about ${told.usd:,.2f}\n\n{table(header, rows)}\n\n{note}\n\n"
        f"## The first prompt\n\n{block(told.first_prompt, most=_MOST_PROMPT)}"
    )


def _row(one: OracleEstimate) -> list[str]:
    return [
        one.oracle,
        f"{one.calls:,}",
        f"{one.most_calls:,}",
        f"{one.input_tokens:,}",
        f"{one.output_tokens:,}",
        "price not known" if one.usd is None else f"about ${one.usd:,.2f}",
        one.limits or "none",
    ]
