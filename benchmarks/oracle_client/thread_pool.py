"""The other side: the pattern of the published script, rebuilt. Threads, a lock, and a file that is opened for every row.

As there: one client of the `openai` package for all threads, replies streamed and put together by hand, up to five
retries after 1, 2, 4, … seconds, the last box compared with the gold answer as a string, every row appended and flushed
under a lock, right ones to a second file too. Not as there: the prompt is ours, and what fails is not swallowed.
"""

import json
import re
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

import openai

from benchmarks.oracle_client.rows import failure
from benchmarks.oracle_client.side import Options, run_side
from spot_core.config.oracle import OpenAIOracleConfig
from spot_core.oracles.base import Failure
from spot_core.oracles.prompting import Prompt

_RETRIES = 5
_BOX = re.compile(r"\\boxed\{([^}]+)\}")


class ThreadPool:
    """Corrects failures with so many threads; results are in two files of ``folder``."""

    def __init__(self, address: str, folder: Path, *, stream: bool) -> None:
        self._client = openai.OpenAI(base_url=address, api_key="no-key")
        self._prompt = Prompt.of(OpenAIOracleConfig(model="teacher"))
        self._all, self._right = folder / "all.jsonl", folder / "right.jsonl"
        self._stream = stream
        self._lock = threading.Lock()

    def correct_all(self, failures: list[Failure], threads: int) -> int:
        """Corrects failures; how many are right."""
        right = 0
        with ThreadPoolExecutor(max_workers=threads) as executor:
            futures = [executor.submit(self._correct, failed) for failed in failures]
            for future in as_completed(futures):
                right += future.result()
        return right

    def _correct(self, failed: Failure) -> bool:
        text = self._ask(self._prompt.render(failed))
        boxes = _BOX.findall(text)
        is_right = bool(boxes) and boxes[-1] == failed.answer
        entry = {
            "index": failed.question_id,
            "question": failed.question,
            "original_answer": failed.response,
            "ground_truth": failed.answer,
            "corrected_answer": text,
            "is_correct": is_right,
        }
        line = json.dumps(entry, ensure_ascii=False) + "\n"
        with self._lock:
            for path in (self._all, self._right) if is_right else (self._all,):
                with path.open("a", encoding="utf-8") as file:
                    file.write(line)
                    file.flush()
        return is_right

    def _ask(self, prompt: str) -> str:
        for attempt in range(_RETRIES + 1):
            try:
                return self._call([{"role": "user", "content": [{"type": "text", "text": prompt}]}])
            except openai.APIError:
                if attempt == _RETRIES:
                    raise
                time.sleep(2**attempt)
        raise AssertionError("the last attempt returns or raises")

    def _call(self, messages: list[dict[str, object]]) -> str:
        create = self._client.chat.completions.create
        if not self._stream:
            return create(model="teacher", messages=messages).choices[0].message.content
        pieces = create(model="teacher", messages=messages, stream=True)
        return "".join(piece.choices[0].delta.content or "" for piece in pieces if piece.choices)


def _prepare(options: Options) -> Callable[[], int]:
    pool = ThreadPool(options.address, options.folder, stream=options.stream)
    failures = [failure(number) for number in range(options.rows)]
    return lambda: pool.correct_all(failures, options.concurrency)


if __name__ == "__main__":
    run_side(_prepare)
