"""Errors of this project, told apart by who has to act on them."""


class SpotError(Exception):
    """Base class: every error that the pipeline raises on purpose."""


class UserError(SpotError, ValueError):
    """Something a user gave cannot be used. The message names the field or file, the value and the remedy."""


class ConfigError(UserError):
    """A setting, or a combination of settings, that cannot work."""


class InputError(UserError):
    """A question file, response file or model folder that cannot be used."""


class EngineError(SpotError, RuntimeError):
    """A process (vLLM server, training rank) or an endpoint failed; of a process the message shows the end of its log."""


class RefusedRequestError(EngineError):
    """An endpoint refuses whatever it is asked: wrong key, model or address, or no credit. No retry mends it."""


class DeclinedRequestError(EngineError):
    """An endpoint refuses this very request, now and later; others may be fine."""


class OutageError(EngineError):
    """An endpoint is not asked any more, because every call of late has failed for good."""


class StageError(SpotError, RuntimeError):
    """A stage that ran elsewhere did not complete; the message holds its reason."""


class ArtifactError(SpotError, RuntimeError):
    """An artifact is missing, incomplete or does not match its manifest."""


class StoreAwayError(ArtifactError):
    """An object store that answered before does not now, or says that it cannot for the moment. What was done is kept."""


class StorageError(SpotError, RuntimeError):
    """A file cannot be written: its file system is full or read-only. What was finished is kept."""


class PersonNeededError(SpotError):
    """Work that waits for a person: edits to make, or an estimate to confirm. Nothing is lost meanwhile.

    Attributes:
        page: what the person has to know, as Markdown.
        wait_days: how long it makes sense to wait.
        key: what `Run.confirm` takes, where it is enough that the person agrees; else None.
    """

    def __init__(self, message: str, *, page: str, wait_days: float, key: str | None = None) -> None:
        super().__init__(message)
        self.page = page
        self.wait_days = wait_days
        self.key = key


class TooLongError(EngineError):
    """A request that does not fit the model's context, and never will."""
