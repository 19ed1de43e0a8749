"""How often the policy solves each question, for the filter's page."""

from typing import Any

from spot_core.report.markdown import percent, table


def pass_rates(statistics: dict[str, Any]) -> str:
    """Tables of pass@k and of the questions by their number of right samples; nothing for one sample a question."""
    if "pass_at" not in statistics:
        return ""
    chances = [(f"pass@{k}", percent(chance)) for k, chance in statistics["pass_at"].items()]
    shares = [
        (f"{right} of {statistics['samples']}", percent(share))
        for right, share in statistics["right_samples"].items()
    ]
    return (
        f"## {statistics['samples']} samples a question\n\n"
        f"{table(['figure', 'value'], [('mean pass rate', percent(statistics['average_pass_rate'])), *chances])}\n\n"
        f"{table(['right samples', 'questions'], shares)}\n\n"
    )
