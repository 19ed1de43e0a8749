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
    """A supervised process (vLLM server, training rank) failed; the message ends with the last lines of its log."""


class ArtifactError(SpotError, RuntimeError):
    """An artifact is missing, incomplete or does not match its manifest."""
