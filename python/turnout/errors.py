"""Exceptions. The extension raises them too: each variant of the core's error is one class here.

What a program can act on is an attribute of the same name as the argument.
"""

from __future__ import annotations

from collections.abc import Mapping
from os import PathLike
from pathlib import Path
from typing import Literal


class RouterError(Exception):
    """Base class of everything that turnout raises on purpose."""


class InvalidInputError(RouterError, ValueError):
    """A prompt, an embedding or a threshold that cannot be routed with.

    Args:
        message: What was wrong, what was expected, what was found.
        argument: Name of the argument, where one is at fault.
        row: Its row, from 0, in a call with many prompts, embeddings or battles.
    """

    def __init__(self, message: str = "", *, argument: str | None = None, row: int | None = None) -> None:
        super().__init__(message)
        self.argument = argument
        self.row = row


class InvalidTypeError(RouterError, TypeError):
    """An argument of the wrong type.

    Args:
        message: What was wrong, what was expected, what was found.
        argument: Name of the argument, where one is at fault.
    """

    def __init__(self, message: str = "", *, argument: str | None = None) -> None:
        super().__init__(message)
        self.argument = argument


class ConfigError(RouterError, ValueError):
    """An option that does not fit this artifact or machine.

    Args:
        message: What was wrong, what was expected, what was found.
        option: Name of the option, where one is at fault.
    """

    def __init__(self, message: str = "", *, option: str | None = None) -> None:
        super().__init__(message)
        self.option = option


class ArtifactError(RouterError):
    """A model folder or checkpoint that is missing, damaged, hostile or of another version.

    Args:
        message: What was wrong, what was expected, what was found.
        path: The file or folder at fault.
        field: The field, tensor or part of the file at fault, where one is.
    """

    def __init__(self, message: str = "", *, path: str | PathLike[str] | None = None, field: str | None = None) -> None:
        super().__init__(message)
        self.path = None if path is None else Path(path)
        self.field = field

    @classmethod
    def at(cls, path: str | PathLike[str], message: str, field: str | None = None) -> ArtifactError:
        """The error of a file, which its message names first.

        Args:
            path: The file or folder at fault.
            message: What was expected and what was found.
            field: The part of the file at fault.

        Returns:
            The error, with ``path`` and ``field``.

        Example:
            >>> from turnout.errors import ArtifactError
            >>> str(ArtifactError.at("router.json", "is 7, expected 1 or 2", "format_version"))
            'router.json: format_version: is 7, expected 1 or 2'
        """
        place = f"{path}" if field is None else f"{path}: {field}"
        return cls(f"{place}: {message}", path=path, field=field)


class PoolError(RouterError, ValueError):
    """A pool of models whose description is wrong or does not fit the artifact.

    Args:
        message: What was wrong, what was expected, what was found.
        path: The file at fault, where the pool comes from one.
        field: The field at fault, with dots; empty where the whole is.
    """

    def __init__(self, message: str = "", *, path: str | PathLike[str] | None = None, field: str = "") -> None:
        super().__init__(message)
        self.path = None if path is None else Path(path)
        self.field = field


class NoFeasibleModelError(PoolError):
    """No model of the pool may serve the request, and no fallback is declared that may.

    Args:
        message: Which models, and why not.
        reasons: The reason by name of the model.
    """

    def __init__(self, message: str = "", *, reasons: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.reasons = dict(reasons or {})


class DeviceError(RouterError):
    """The requested device is unavailable. There is no fallback to another one.

    Args:
        message: What was wrong, what was expected, what was found.
        device: The device, as in ``turnout.load(device=...)``.
    """

    def __init__(self, message: str = "", *, device: str | None = None) -> None:
        super().__init__(message)
        self.device = device


class EngineError(RouterError):
    """An engine library (ONNX Runtime, FAISS) is missing, too old or refused to load, or does not run the graph.

    Args:
        message: What was wrong, what was expected, what was found.
        library: The library, where one was found.
    """

    def __init__(self, message: str = "", *, library: str | PathLike[str] | None = None) -> None:
        super().__init__(message)
        self.library = None if library is None else Path(library)


class InferenceError(RouterError):
    """The engine failed while running a model."""


class OverloadedError(RouterError):
    """More prompts wait than the queue holds; try again later.

    Args:
        message: What was wrong, what was expected, what was found.
        limit: The prompts that may wait.
    """

    def __init__(self, message: str = "", *, limit: int | None = None) -> None:
        super().__init__(message)
        self.limit = limit


class DeadlineExceededError(RouterError, TimeoutError):
    """The deadline of the call passed before its prompt could be run."""


class WorkerStoppedError(RouterError):
    """The session stopped while the prompt waited or ran: the router was closed, or a run panicked.

    Args:
        message: What was wrong, what was expected, what was found.
        reason: ``"closed"``: open the router again. ``"panicked"``: the next call gets a fresh session. ``"replaced"``: the artifact
            changed on disk and the session cannot be made anew. ``"exiting"``: the interpreter is ending.
    """

    def __init__(
        self, message: str = "", *, reason: Literal["closed", "panicked", "replaced", "exiting"] | None = None
    ) -> None:
        super().__init__(message)
        self.reason = reason


class RoutingError(InvalidInputError):
    """A model name, router, threshold or list of messages that cannot be routed with; says what was expected."""


class OutcomesError(RouterError):
    """A database of outcomes that cannot be read or written: damaged, full, of another program, or opened before a fork.

    Args:
        message: What was wrong, what was expected, what was found.
        path: The database.
        limit: The outcomes that it takes, where it is full.
    """

    def __init__(self, message: str = "", *, path: str | PathLike[str] | None = None, limit: int | None = None) -> None:
        super().__init__(message)
        self.path = None if path is None else Path(path)
        self.limit = limit


class OutcomeConflictError(InvalidInputError):
    """An outcome whose receipt already has another value of the same kind. The first one stays.

    Args:
        message: Both values.
        receipt_id: The receipt.
        row: The row of the outcome, from 0, in a call with many.
    """

    def __init__(self, message: str = "", *, receipt_id: str = "", row: int | None = None) -> None:
        super().__init__(message, argument="receipt_id", row=row)
        self.receipt_id = receipt_id


# Tracebacks show the name by which users import a class.
for _class in [RouterError, *RouterError.__subclasses__(), NoFeasibleModelError, RoutingError, OutcomeConflictError]:
    _class.__module__ = "turnout"
