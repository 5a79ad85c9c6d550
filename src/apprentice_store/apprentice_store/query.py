"""The `where` of a query over episodes: a small, safe piece of SQL.

    task = 'lift' and success = true and not tag = 'bad' and source in ('expert', 'teleop') and steps >= 10

Comparisons of a column with a literal, `in`, `like`, `is [not] null`, `and`, `or`, `not`, parentheses. `tag` and `sketch` (the task of a
reward sketch) are sets: `tag = 'rgb'` means that the episode has it. The text is parsed into an expression with bound values; nothing
of it reaches the database as SQL.
"""

from __future__ import annotations

import re
from typing import Any

from sqlalchemy import ColumnElement, and_, exists, false, not_, or_, true

from apprentice_core.errors import ApprenticeError
from apprentice_store.schema import episode_tags, episodes, reward_sequences

MAX_QUERY = 10_000
_MAX_DEPTH = 50
_TOKEN = re.compile(
    r"\s*(?:(?P<string>'(?:[^']|'')*')|(?P<number>-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?)|(?P<name>[A-Za-z_]\w*)|(?P<symbol><=|>=|!=|<>|[=<>(),]))"
)
_KEYWORDS = {"and", "or", "not", "in", "like", "is", "null", "true", "false"}
_COLUMNS = {c.key: c for c in episodes.columns if c.key != "store_id"}
_ALIASES = {"id": "episode_id", "bundle": "bundle_id"}
_SETS = {"tag": episode_tags.c.tag, "sketch": reward_sequences.c.task}


class QueryError(ApprenticeError):
    """A `where` that cannot be understood: what, and at which character."""


class _Parser:
    def __init__(self, text: str):
        if len(text) > MAX_QUERY:
            raise QueryError(f"query longer than {MAX_QUERY} characters")
        self.tokens: list[tuple[str, str, int]] = []
        self.at = self.depth = 0
        position = 0
        stripped = text.rstrip()
        while position < len(stripped):
            match = _TOKEN.match(stripped, position)
            if match is None:
                raise QueryError(f"query: not understood at character {position}: {stripped[position : position + 20]!r}")
            kind = match.lastgroup or ""
            value, start = match.group(kind), match.start(kind)
            if kind == "name" and value.lower() in _KEYWORDS:
                kind, value = "keyword", value.lower()
            self.tokens.append((kind, value, start))
            position = match.end()

    def fail(self, expected: str) -> QueryError:
        got = f"{self.tokens[self.at][1]!r} at character {self.tokens[self.at][2]}" if self.at < len(self.tokens) else "the end"
        return QueryError(f"query: expected {expected}, got {got}")

    def take(self, *wanted: str) -> str | None:
        if self.at < len(self.tokens) and self.tokens[self.at][0] in ("keyword", "symbol") and self.tokens[self.at][1] in wanted:
            self.at += 1
            return self.tokens[self.at - 1][1]
        return None

    def need(self, symbol: str) -> None:
        if self.take(symbol) is None:
            raise self.fail(repr(symbol))

    def either(self) -> ColumnElement[bool]:
        parts = [self.both()]
        while self.take("or"):
            parts.append(self.both())
        return or_(false(), *parts) if len(parts) > 1 else parts[0]

    def both(self) -> ColumnElement[bool]:
        parts = [self.single()]
        while self.take("and"):
            parts.append(self.single())
        return and_(true(), *parts) if len(parts) > 1 else parts[0]

    def single(self) -> ColumnElement[bool]:
        self.depth += 1
        if self.depth > _MAX_DEPTH:
            raise QueryError(f"query: nested deeper than {_MAX_DEPTH}")
        try:
            if self.take("not"):
                return not_(self.single())
            if self.take("("):
                inner = self.either()
                self.need(")")
                return inner
            return self.comparison()
        finally:
            self.depth -= 1

    def literal(self) -> Any:
        if self.at >= len(self.tokens):
            raise self.fail("a value")
        kind, value, _ = self.tokens[self.at]
        if kind == "string":
            result: Any = value[1:-1].replace("''", "'")
        elif kind == "number":
            result = float(value) if re.search(r"[.eE]", value) else int(value)
        elif kind == "keyword" and value in ("true", "false"):
            result = value == "true"
        else:
            raise self.fail("a value")
        self.at += 1
        return result

    def comparison(self) -> ColumnElement[bool]:
        if self.at >= len(self.tokens) or self.tokens[self.at][0] != "name":
            raise self.fail("a column")
        name = self.tokens[self.at][1].lower()
        name = _ALIASES.get(name, name)
        if name not in _COLUMNS and name not in _SETS:
            raise QueryError(f"query: no column {name!r}; known: {', '.join(sorted({*_COLUMNS, *_SETS}))}")
        self.at += 1
        if name in _SETS:
            return self.member(name)
        column = _COLUMNS[name]
        if self.take("is"):
            negate = self.take("not") is not None
            self.need("null")
            return column.is_not(None) if negate else column.is_(None)
        return self.condition(column)

    def member(self, name: str) -> ColumnElement[bool]:
        column = _SETS[name]
        table = column.table
        negate = self.take("!=", "<>") is not None
        if negate:
            condition: ColumnElement[bool] = column == self.value(column)
        else:
            condition = self.condition(column, ("=",))
        found = exists().where(and_(table.c.episode_id == episodes.c.episode_id, condition))
        return not_(found) if negate else found

    def value(self, column: Any) -> Any:
        """A literal of the column's own type; databases differ in what they make of any other."""
        where = self.at
        value = self.literal()
        expected = column.type.python_type
        fits = isinstance(value, (int, float)) and not isinstance(value, bool) if expected in (int, float) else isinstance(value, expected)
        if not fits:
            self.at = where
            raise self.fail(f"a {'number' if expected in (int, float) else expected.__name__} for {column.key}")
        return value

    def condition(self, column: Any, operators: tuple[str, ...] = ("=", "!=", "<>", "<=", ">=", "<", ">")) -> ColumnElement[bool]:
        negate = self.take("not") is not None
        if self.take("in"):
            self.need("(")
            values = [self.value(column)]
            while self.take(","):
                values.append(self.value(column))
            self.need(")")
            return column.not_in(values) if negate else column.in_(values)
        if self.take("like"):
            pattern = self.value(column)
            if not isinstance(pattern, str):
                raise QueryError(f"query: like needs text, {column.key} is not")
            return column.not_like(pattern) if negate else column.like(pattern)
        if negate:
            raise self.fail("in or like")
        operator = self.take(*operators)
        if operator is None:
            raise self.fail("a comparison")
        value = self.value(column)
        if operator == "=":
            return column == value
        if operator in ("!=", "<>"):
            return column != value
        return {"<": column.__lt__, "<=": column.__le__, ">": column.__gt__, ">=": column.__ge__}[operator](value)


def parse_where(text: str | None) -> ColumnElement[bool]:
    """The condition of a `where` text; every episode for None or ''. QueryError says what is wrong and where."""
    if text is None or not text.strip():
        return true()
    parser = _Parser(text)
    condition = parser.either()
    if parser.at < len(parser.tokens):
        raise parser.fail("and, or, or the end")
    return condition
