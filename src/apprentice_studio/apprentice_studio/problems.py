"""Every error leaves as {"error": "<one line>"} with a status that says whose fault it was."""

from __future__ import annotations

import logging
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from sqlalchemy.exc import DBAPIError
from starlette.exceptions import HTTPException

from apprentice_core.errors import ApprenticeError, BagError

log = logging.getLogger(__name__)
MAX_MESSAGE = 500


class NotFound(ApprenticeError):
    """What was asked for does not exist: 404."""


class Unprocessable(ApprenticeError):
    """A request that was understood and cannot be fulfilled: 422."""


class Conflict(ApprenticeError):
    """Somebody was faster: 409; `extra` holds what is stored now."""

    def __init__(self, message: str, **extra: Any):
        self.extra = extra
        super().__init__(message)


def one_line(text: object) -> str:
    return " ".join(str(text).split())[:MAX_MESSAGE]


def problem(status: int, text: object, **extra: Any) -> JSONResponse:
    return JSONResponse({"error": one_line(text), **extra}, status_code=status)


def _status(error: ApprenticeError) -> int:
    if isinstance(error, NotFound):
        return 404
    return 422 if isinstance(error, (Unprocessable, BagError)) else 400


def _invalid(error: RequestValidationError) -> str:
    """The first wrong field by its path, what is wrong, and how many more; never the value itself, which may be huge or no JSON."""
    first, *rest = error.errors()
    where = ".".join(str(p) for p in first["loc"][1:]) or str(first["loc"][0])
    return f"{where}: {first['msg']}" + (f" (and {len(rest)} more)" if rest else "")


def install(app: FastAPI) -> None:
    """Registers the handlers."""

    @app.exception_handler(Conflict)
    def _conflict(_: Request, error: Conflict) -> JSONResponse:
        return problem(409, error, **error.extra)

    @app.exception_handler(ApprenticeError)
    def _ours(_: Request, error: ApprenticeError) -> JSONResponse:
        return problem(_status(error), error)

    @app.exception_handler(RequestValidationError)
    def _request(_: Request, error: RequestValidationError) -> JSONResponse:
        return problem(422, _invalid(error))

    @app.exception_handler(HTTPException)
    def _http(_: Request, error: HTTPException) -> JSONResponse:
        return problem(error.status_code, error.detail)

    @app.exception_handler(DBAPIError)
    def _database(_: Request, error: DBAPIError) -> JSONResponse:
        log.warning("catalogue: %s", one_line(error.orig))
        return problem(503, f"the catalogue did not answer ({one_line(error.orig)}); nothing of this request was saved, try again")

    @app.exception_handler(Exception)
    def _ours_to_mend(_: Request, error: Exception) -> JSONResponse:
        log.exception("request failed", exc_info=error)
        return problem(500, f"{type(error).__name__} in the server; its log says more")
