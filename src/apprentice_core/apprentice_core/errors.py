"""Errors that a person is meant to read: what was wrong, where, and what to do."""

from __future__ import annotations


class ApprenticeError(Exception):
    """Root of the suite's errors; the command line prints its text in one line and exits 2."""


class ConfigError(ApprenticeError):
    """A config, URDF or profile is wrong: `where` is the file, `field` the path inside it."""

    def __init__(self, where: str, field: str, message: str):
        self.where, self.field = where, field
        super().__init__(f"{where}: {field}: {message}" if field else f"{where}: {message}")


class BundleError(ApprenticeError):
    """A model bundle is malformed or does not fit the cell."""


class BagError(ApprenticeError):
    """A bag is torn, truncated or foreign."""


class SafetyError(ApprenticeError):
    """The safety chain refuses to start or to go on."""
