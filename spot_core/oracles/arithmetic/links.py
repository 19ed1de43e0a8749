"""How one member of a chain follows from the one before: `3 * 15 + 20 = 40 + 20` says that 3 * 15 is 40, and copies 20."""

from dataclasses import dataclass

from spot_core.oracles.arithmetic.expressions import Expression, Literal, evaluate


@dataclass(frozen=True, slots=True)
class Link:
    """`literal`, in the later member, says what `part` of the member before is; a copy if that is a number too."""

    part: Expression
    literal: Literal

    @property
    def is_copy(self) -> bool:
        """Whether the number was only written again."""
        return isinstance(self.part, Literal)


def links_between(before: Expression, after: Expression) -> list[Link] | None:
    """What every number of `after` says about a part of `before`, if both are built alike; else None.

    Numbers that are copies must be equal: what was moved, dropped or miscopied is no simplification.
    """
    if isinstance(after, Literal):
        link = Link(before, after)
        if isinstance(before, Literal) and (
            before.percent != after.percent or evaluate(before) != evaluate(after)
        ):
            return None
        return [link]
    if isinstance(before, Literal) or before.operator != after.operator or before.mixed or after.mixed:
        return None
    if before.left is None or after.left is None:
        if before.left is not None or after.left is not None:
            return None
        return links_between(before.right, after.right)
    left = links_between(before.left, after.left)
    right = links_between(before.right, after.right)
    return None if left is None or right is None else left + right
