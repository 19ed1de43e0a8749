"""Two texts as what they share and what was changed, word by word, for people to read."""

import re
from collections.abc import Sequence
from typing import NamedTuple

from spot_core.change_ratio import edit_regions, shared_prefix_length

# Numbers, words, runs of blanks, single line breaks, and single other characters.
_WORD = re.compile(r"[0-9]+(?:[.,][0-9]+)*|[^\W_]+|[^\S\n]+|\n|.", re.DOTALL)
_LINE = re.compile(r"[^\n]*\n|[^\n]+")
# Of an alignment of m × n pieces, whose bit matrix takes an eighth of a byte each: 32 MiB.
_MOST_CELLS = 2**28
_GAP = 4  # what is shared is little if the changes on both sides are this many times as long


class Segment(NamedTuple):
    """`same` stands in both texts; then `old` stands in the rejected one where `new` stands in the rectified one."""

    same: str
    old: str
    new: str


def segments(rejected: str, rectified: str) -> list[Segment]:
    """The texts cut into segments: joining `same + old` gives the rejected one, joining `same + new` the rectified one.

    The alignment is a longest common subsequence of words. Texts too long for that are aligned line by line, and
    the changed lines word by word where that fits. Changes are joined across what is too little to read between them: blanks
    between words, or a sign between long passages.
    """
    return _without_gaps(_aligned(rejected, rectified, by=(_WORD, _LINE)))


def _aligned(rejected: str, rectified: str, *, by: Sequence[re.Pattern[str]]) -> list[Segment]:
    for pattern in by:
        old, new = pattern.findall(rejected), pattern.findall(rectified)
        start = shared_prefix_length(old, new)
        end = shared_prefix_length(old[start:][::-1], new[start:][::-1])
        head, tail = "".join(old[:start]), "".join(old[len(old) - end :])
        old, new = old[start : len(old) - end], new[start : len(new) - end]
        if len(old) * len(new) <= _MOST_CELLS:
            break
    else:
        return [Segment(head, "".join(old), "".join(new)), Segment(tail, "", "")]
    found = [Segment(head, "", "")]
    position = 0
    for region in edit_regions(old, new):
        same = "".join(old[position : region.rejected_start])
        changed = (
            "".join(old[region.rejected_start : region.rejected_end]),
            "".join(new[region.chosen_start : region.chosen_end]),
        )
        position = region.rejected_end
        if pattern is _WORD:
            found.append(Segment(same, *changed))
        else:
            found += [Segment(same, "", ""), *_aligned(*changed, by=(_WORD,))]
    return [*found, Segment("".join(old[position:]) + tail, "", "")]


def _without_gaps(found: list[Segment]) -> list[Segment]:
    """The same texts in fewer segments: none without change but the last, none after a mere gap."""
    joined: list[Segment] = []
    for same, old, new in found:
        if joined:
            before = joined[-1]
            if not (before.old or before.new):
                joined[-1] = Segment(before.same + same, old, new)
                continue
            if (old or new) and _is_gap(same, before, old + new):
                joined[-1] = Segment(before.same, before.old + same + old, before.new + same + new)
                continue
        joined.append(Segment(same, old, new))
    return joined if joined[-1] != Segment("", "", "") else joined[:-1]


def _is_gap(same: str, before: Segment, after: str) -> bool:
    """Whether what two changes share between them is less than a reader would look for."""
    blank = not same.strip(" \t") and bool(before.old and before.new)
    little = len(same) * _GAP <= min(len(before.old) + len(before.new), len(after))
    return "\n" not in same and (blank or little)
