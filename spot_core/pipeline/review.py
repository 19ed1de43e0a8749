"""Failures that wait for a person: the folder in which they are handed over and come back as edits."""

import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from spot_core.config.oracle import HumanOracleConfig, OracleConfig, in_order
from spot_core.errors import InputError, PersonNeededError
from spot_core.markdown import block, cell
from spot_core.oracles.edits import EDITS, misnamed_edits, read_edits, take_edits
from spot_core.oracles.human import Edits, Key
from spot_core.rectification.review.page import render_review_page
from spot_core.store.manifest import write_atomically

FAILURES = "failures.jsonl"
PAGE = "review.html"


def person_of(config: OracleConfig) -> HumanOracleConfig | None:
    """The settings of the Oracle that is a person, if there is one."""
    return next((oracle for oracle in in_order(config) if isinstance(oracle, HumanOracleConfig)), None)


@dataclass(frozen=True)
class Review:
    """The review folder of an artifact of the rectify stage.

    Attributes:
        folder: beside the generations, so that what a person did once serves a later one too.
        place: where a person finds it: the same folder, or its address in the bucket.
        person: settings of the Oracle that is one.
        artifact: names the generation that the edits are for.
        gamma: largest change ratio that is accepted.
    """

    folder: Path
    place: str
    person: HumanOracleConfig
    artifact: str
    gamma: float

    def edits(self, *, known: Collection[Key]) -> Edits:
        """What the person has decided so far.

        Raises:
            PersonNeededError: the edits cannot be used as they are: the message says where.
        """
        try:
            return read_edits(self.folder, known=known)
        except InputError as error:
            raise self._needed(f"the edits cannot be used: {error}", "Mend the file") from error

    def hand_over(self, rows: Sequence[dict[str, Any]], *, total: int, edits: Edits) -> PersonNeededError:
        """Writes what waits into the folder, sets aside the edits that are used up, and returns the error to raise.

        Args:
            rows: the `pending` rows.
            total: all failures of the artifact.
            edits: those that the rows were made with.
        """
        waiting = [_waiting(row, edits) for row in rows]
        page = render_review_page(waiting, artifact=self.artifact, gamma=self.gamma, folder=self.place)
        asked_before = (self.folder / PAGE).exists()
        write_atomically(self.folder / FAILURES, "".join(f"{json.dumps(row)}\n" for row in waiting))
        write_atomically(self.folder / PAGE, page)
        taken = take_edits(self.folder)
        sent_back = sum(bool(row["rectified"]) for row in waiting)
        said = [f"{len(waiting):,} of {total:,} failures wait for a person"]
        if sent_back:
            said[0] += f", {sent_back:,} of them with an edit that was not accepted (the page says why)"
        if asked_before and not taken:
            said.append(f"no new {EDITS} was found")
            if others := misnamed_edits(self.folder):
                said.append(f"is {others[0]} meant? Rename it to {EDITS}")
        return self._needed(". ".join(said), f"Open {self.place}/{PAGE} in a browser, edit, save {EDITS}")

    def close(self) -> None:
        """Clears away what would ask for edits of an artifact that needs none any more."""
        take_edits(self.folder)
        for name in (FAILURES, PAGE):
            (self.folder / name).unlink(missing_ok=True)

    def _needed(self, said: str, what_to_do: str) -> PersonNeededError:
        message = (
            f"{said}. {what_to_do}, put it into {self.place}, and resume the run, or call the stage again"
        )
        page = (
            f"{cell(said)}.\n\n"
            f"Open the page in a browser (it needs no network) and edit:\n\n{block(f'{self.place}/{PAGE}')}\n\n"
            f"Save `{EDITS}` there, with all or only some of the failures, and put it here:\n\n"
            f"{block(f'{self.place}/{EDITS}')}\n\n"
            f"Then resume this run. What is not accepted, or still open, comes back on a new page; to go on with the "
            "pairs there are, use “skip all that are left” on the page."
        )
        return PersonNeededError(message, page=page, wait_days=self.person.wait_days)


def _waiting(row: dict[str, Any], edits: Edits) -> dict[str, Any]:
    """A line of failures.jsonl; the reason and the text are those of an edit that was not accepted, if there is one."""
    earlier = edits.texts.get((row["question_id"], row["sample"]))
    return {
        "question_id": row["question_id"],
        "sample": row["sample"],
        "question": row["question"],
        "answer": row["answer"],
        "response": row["response"],
        "reason": row["reason"] if earlier is not None else "",
        "rectified": earlier or "",
    }
