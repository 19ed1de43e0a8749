"""From the members of a written chain to equations: which are results, and where a running total goes on."""

from dataclasses import dataclass, field

from sympy import Rational

from spot_core.oracles.arithmetic.equations import Equation
from spot_core.oracles.arithmetic.expressions import Literal, Reading, evaluate, literals_of
from spot_core.oracles.arithmetic.links import links_between
from spot_core.oracles.arithmetic.numbers import NotComputableError
from spot_core.oracles.arithmetic.results import Result, as_result


@dataclass
class Chain:
    """Members of one chain while it is being read; None for a member that is not arithmetic."""

    members: list[Reading | None] = field(default_factory=list)
    approximate: set[int] = field(default_factory=set)
    """Indices of the members that follow a `≈`."""

    def add(self, member: Reading | None, *, approximate: bool = False) -> None:
        """One more member."""
        if approximate:
            self.approximate.add(len(self.members))
        self.members.append(member)

    def equations(self) -> list[Equation]:
        """The equations from its first readable expression on; none if it has nothing to compare that with."""
        stated: list[Result] = []
        members: list[Reading | Result] = []
        for index, reading in enumerate(self.members):
            if reading is None:
                if members:
                    break
                stated = []
                continue
            result = as_result(reading, approximate=index in self.approximate)
            if not members and (result is None or not reading.is_number):
                members.append(reading)
            elif not members:
                assert result is not None
                stated.append(result)
            elif result is None or (not reading.is_number and reading is not self.members[-1]):
                members.append(reading)
            else:
                members.append(result)
        if not members or len(members) + len(stated) < 2:
            return []
        return _split_at_totals(stated, members)


def _split_at_totals(stated: list[Result], members: list[Reading | Result]) -> list[Equation]:
    """`5 + 3 = 8 + 2 = 10` is `5 + 3 = 8` and `8 + 2 = 10`: its author went on from the total."""
    equations: list[Equation] = []
    first = 0
    for index in range(1, len(members)):
        before, member = members[index - 1], members[index]
        if isinstance(before, Reading) and isinstance(member, Reading) and index + 1 < len(members):
            total = _running_total(before, member, goes_on=first > 0)
            if total is not None:
                equations.append(Equation(tuple(stated), (*members[first:index], total)))
                stated, first = [], index
    equations.append(Equation(tuple(stated), tuple(members[first:])))
    return equations


def _running_total(before: Reading, member: Reading, *, goes_on: bool) -> Result | None:
    """The number that begins `member` if that is a new calculation from the value of `before`.

    `goes_on`: the chain has done so before, so that another number in that place is a wrong total.
    """
    leading: Literal = next(literals_of(member.root))
    try:
        value: Rational = evaluate(before.root)
        if evaluate(member.root) == value or not (goes_on or leading.written == value):
            return None
    except NotComputableError:
        return None
    if leading.percent or links_between(before.root, member.root) is not None:
        return None
    return Result(Reading(leading, leading.token.start, leading.token.end, units=frozenset(), tokens_read=1))
