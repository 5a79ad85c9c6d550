"""The `where` of a query over episodes: a small, safe piece of SQL.

    task = 'lift' and success = true and not tag = 'bad' and source in ('expert', 'teleop') and steps >= 10

Comparisons of a column with a literal, `in`, `like`, `is [not] null`, `and`, `or`, `not`, parentheses. `tag`, `sketch` (the task of a
reward sketch) and `override` (the task for which a person overrode rewards) are sets: `tag = 'rgb'` means that the episode has it.
`success` is the last judgement, else what was recorded; an overridden reward does not change it. Hidden episodes fulfil nothing, unless
the text speaks of `hidden` itself: `hidden = true`. At a revision, commits, `tag`, `success`, `sketch`, `override` and `hidden` are taken
as they were then. The text is parsed into an expression with bound values; nothing of it reaches the database as SQL.
"""

from __future__ import annotations

import re
from typing import Any

from sqlalchemy import ColumnElement, and_, case, exists, false, literal, not_, null, or_, select, true

from apprentice_core.errors import ApprenticeError
from apprentice_store.schema import annotation_log, commits, episode_tags, episodes, reward_sequences

MAX_QUERY = 10_000
_MAX_DEPTH = 50
_TOKEN = re.compile(
    r"\s*(?:(?P<string>'(?:[^']|'')*')|(?P<number>-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?)|(?P<name>[A-Za-z_]\w*)|(?P<symbol><=|>=|!=|<>|[=<>(),]))"
)
_KEYWORDS = {"and", "or", "not", "in", "like", "is", "null", "true", "false"}
_COLUMNS = {c.key: c for c in episodes.columns if c.key != "store_id"}
_ALIASES = {"id": "episode_id", "bundle": "bundle_id"}
_SETS = {"tag": episode_tags.c.tag, "sketch": reward_sequences.c.task, "override": annotation_log.c.name}
_HIDDEN = "hidden"


class QueryError(ApprenticeError):
    """A `where` that cannot be understood: what, and at which character."""


def _said(kind: str, revision: int | None, condition: Any = None) -> ColumnElement[bool]:
    """The newest annotation of this kind and of a name that fulfils `condition(name)` says true, at `revision` (None: now)."""
    said, later = annotation_log.alias(), annotation_log.alias()
    same = (later.c.episode_id == said.c.episode_id) & (later.c.kind == kind) & (later.c.name == said.c.name)
    newer = same & (later.c.revision > said.c.revision)
    mine = (said.c.episode_id == episodes.c.episode_id) & (said.c.kind == kind) & (said.c.value == "true")
    if condition is not None:
        mine &= condition(said.c.name)
    if revision is not None:
        newer, mine = newer & (later.c.revision <= revision), mine & (said.c.revision <= revision)
    return exists().where(and_(mine, not_(exists().where(newer))))


def success_at(revision: int) -> ColumnElement[Any]:
    """The judgement that held at `revision`: the last one annotated by then, else the recorder's."""
    log = annotation_log.alias()
    judged = (log.c.episode_id == episodes.c.episode_id) & (log.c.kind == "success") & (log.c.revision <= revision)
    last = select(log.c.value).where(judged).order_by(log.c.revision.desc()).limit(1).scalar_subquery()
    recorded = select(commits.c.success).where(commits.c.episode_id == episodes.c.episode_id).scalar_subquery()
    known = exists().where(commits.c.episode_id == episodes.c.episode_id)
    return case(
        (last == "true", literal(True)), (last == "false", literal(False)), (last == "null", null()), (known, recorded),
        else_=episodes.c.success,
    )


class _Parser:
    def __init__(self, text: str, revision: int | None):
        self.revision, self.names_hidden = revision, False
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
        if name not in _COLUMNS and name not in _SETS and name != _HIDDEN:
            raise QueryError(f"query: no column {name!r}; known: {', '.join(sorted({*_COLUMNS, *_SETS, _HIDDEN}))}")
        self.at += 1
        if name == _HIDDEN:
            return self.hidden()
        if name in _SETS:
            return self.member(name)
        column: Any = _COLUMNS[name]
        if name == "success" and self.revision is not None:
            column = success_at(self.revision)
        if self.take("is"):
            negate = self.take("not") is not None
            self.need("null")
            return column.is_not(None) if negate else column.is_(None)
        return self.condition(column, name)

    def hidden(self) -> ColumnElement[bool]:
        self.names_hidden = True
        operator = self.take("=", "!=", "<>")
        if operator is None:
            raise self.fail("a comparison")
        said = _said("hidden", self.revision)
        return said if self.value(episodes.c.success, _HIDDEN) is (operator == "=") else not_(said)

    def member(self, name: str) -> ColumnElement[bool]:
        column = _SETS[name]
        table = column.table
        negate = self.take("!=", "<>") is not None

        def condition(of: Any) -> ColumnElement[bool]:
            return of == self.value(of, name) if negate else self.condition(of, name, ("=",))

        if name == "tag" and self.revision is not None:
            found = _said("tag", self.revision, condition)
        else:
            mine = and_(table.c.episode_id == episodes.c.episode_id, condition(column))
            if name == "override":
                mine &= annotation_log.c.kind == "reward"
            found = exists().where(mine if self.revision is None else mine & (table.c.revision <= self.revision))
        return not_(found) if negate else found

    def value(self, column: Any, name: str) -> Any:
        """A literal of the column's own type; databases differ in what they make of any other."""
        where = self.at
        value = self.literal()
        expected = column.type.python_type
        fits = isinstance(value, (int, float)) and not isinstance(value, bool) if expected in (int, float) else isinstance(value, expected)
        if not fits:
            self.at = where
            raise self.fail(f"a {'number' if expected in (int, float) else expected.__name__} for {name}")
        return value

    def condition(
        self, column: Any, name: str, operators: tuple[str, ...] = ("=", "!=", "<>", "<=", ">=", "<", ">")
    ) -> ColumnElement[bool]:
        negate = self.take("not") is not None
        if self.take("in"):
            self.need("(")
            values = [self.value(column, name)]
            while self.take(","):
                values.append(self.value(column, name))
            self.need(")")
            return column.not_in(values) if negate else column.in_(values)
        if self.take("like"):
            pattern = self.value(column, name)
            if not isinstance(pattern, str):
                raise QueryError(f"query: like needs text, {name} is not")
            return column.not_like(pattern) if negate else column.like(pattern)
        if negate:
            raise self.fail("in or like")
        operator = self.take(*operators)
        if operator is None:
            raise self.fail("a comparison")
        value = self.value(column, name)
        if operator == "=":
            return column == value
        if operator in ("!=", "<>"):
            return column != value
        return {"<": column.__lt__, "<=": column.__le__, ">": column.__gt__, ">=": column.__ge__}[operator](value)


def parse_where(text: str | None, hidden: bool = False, revision: int | None = None) -> ColumnElement[bool]:
    """The condition of a `where` text; every episode for None or ''. QueryError says what is wrong and where.

    `hidden`: hidden episodes too, whether or not the text names them. `revision`: as things were then.
    """
    condition: ColumnElement[bool] = true()
    if text is not None and text.strip():
        parser = _Parser(text, revision)
        condition = parser.either()
        if parser.at < len(parser.tokens):
            raise parser.fail("and, or, or the end")
        hidden = hidden or parser.names_hidden
    if not hidden:
        condition = condition & not_(_said("hidden", revision))
    if revision is not None:
        condition = condition & not_(exists().where((commits.c.episode_id == episodes.c.episode_id) & (commits.c.revision > revision)))
    return condition
