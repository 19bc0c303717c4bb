"""Statements of the ORM that are compiled once and then only filled in.

For the dozen statements that each step of each call executes: writing the SQL of a query takes Django several times
as long as executing it (docs/decisions/0011-prepared-statements.md). Everywhere else the ORM is used as it is.

    _BEAT = Update(lambda: Run.objects.filter(pk=Slot("pk", UUIDField())), lease_until=Now())
    _BEAT(pk=run.pk)

What varies is a slot; its value is never None in a condition, since `= NULL` is true of nothing. All else is fixed
when the statement is first used, settings too: make a slot of what tests change.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cache
from typing import Any

from django.db import connection, transaction
from django.db.models import Expression, Field, Model, QuerySet
from django.db.models.query import ModelIterable, get_related_populators
from django.db.models.sql import InsertQuery, UpdateQuery


class Slot(Expression):
    """A place in a statement. `field`: how its value is brought into the database's form; None leaves it as it is."""

    def __init__(self, name: str, field: Field[Any, Any] | None = None) -> None:
        super().__init__(output_field=field)
        self.name, self._kind = name, field

    def as_sql(self, compiler: Any, connection: Any, **context: Any) -> Any:
        return "%s", [self]

    def fill(self, values: dict[str, Any]) -> Any:
        value = values[self.name]
        return value if self._kind is None else self._kind.get_db_prep_save(value, connection)


class _Statement:
    """Compiled anew for each kind of database, as tests use both."""

    def __init__(self) -> None:
        self._compiled: dict[str, tuple[str, Sequence[Any], Any]] = {}
        self._slots: dict[str, set[str]] = {}

    def _compile(self) -> tuple[str, Sequence[Any], Any]:
        """SQL, parameters with slots among them, and what the statement needs besides."""
        raise NotImplementedError

    def _parts(self) -> tuple[str, Sequence[Any], Any]:
        parts = self._compiled.get(connection.vendor)
        if parts is None:
            parts = self._compile()
            self._slots[connection.vendor] = {each.name for each in parts[1] if isinstance(each, Slot)}
            self._compiled[connection.vendor] = parts
        return parts

    def _run(self, cursor: Any, values: dict[str, Any]) -> Any:
        sql, params, rest = self._parts()
        if unknown := values.keys() - self._slots[connection.vendor]:
            raise TypeError(f"There is no slot named {', '.join(unknown)}.")
        filled = [each.fill(values) if isinstance(each, Slot) else each for each in params]
        with transaction.mark_for_rollback_on_error(connection.alias):
            cursor.execute(sql, filled)
        return rest


class Select(_Statement):
    """Rows of a queryset: instances, or what `values_list` gives. Without prefetching."""

    def __init__(self, rows: Callable[[], QuerySet[Any, Any]]) -> None:
        super().__init__()
        self._rows = rows
        self._locks = False

    def __call__(self, **values: Any) -> list[Any]:
        if self._locks and not connection.in_atomic_block:
            raise transaction.TransactionManagementError("Rows are locked within a transaction only.")
        with connection.cursor() as cursor:
            build = self._run(cursor, values)
            return list(build(cursor.fetchall()))

    def first(self, **values: Any) -> Any:
        """The first row, or None."""
        return next(iter(self(**values)), None)

    def _compile(self) -> tuple[str, Sequence[Any], Any]:
        queryset = self._rows()
        self._locks = queryset.query.select_for_update
        compiler = queryset.query.get_compiler(connection.alias)
        sql, params = compiler.as_sql()
        convert = _converter(compiler)
        if issubclass(queryset._iterable_class, ModelIterable):
            return sql, params, _instances(compiler, convert)
        flat = len(compiler.select) == 1
        return sql, params, lambda rows: (row[0] if flat else row for row in map(convert, rows))


class Update(_Statement):
    """Changes rows of one table; gives how many."""

    def __init__(self, rows: Callable[[], QuerySet[Any, Any]], **changes: Any) -> None:
        super().__init__()
        self._rows, self._changes = rows, changes

    def __call__(self, **values: Any) -> int:
        with connection.cursor() as cursor:
            self._run(cursor, values)
            return int(cursor.rowcount)

    def _compile(self) -> tuple[str, Sequence[Any], Any]:
        rows = self._rows()
        query: Any = rows.query.chain(UpdateQuery)
        query.add_update_values(_typed(rows.model, self._changes))
        return *query.get_compiler(connection.alias).as_sql(), None


class Insert(_Statement):
    """Adds one row: an unsaved instance, but for the columns that have a default in the database.

    `given`: expressions for columns that the database has to compute. The instance is not told what it got.
    """

    def __init__(self, model: type[Model], **given: Any) -> None:
        super().__init__()
        self._model, self._given = model, given

    def row(self, instance: Model, **values: Any) -> None:
        with connection.cursor() as cursor:
            self._run(cursor, values | {name: getattr(instance, name) for name in self._names()})

    def _names(self) -> list[str]:
        return _columns(self._model, frozenset(self._given))

    def _compile(self) -> tuple[str, Sequence[Any], Any]:
        slots = {name: Slot(name) for name in self._names()}
        row = self._model(**_typed(self._model, {**slots, **self._given}))
        query = InsertQuery(self._model)
        automatic = self._model._meta.auto_field
        query.insert_values(
            [
                each
                for each in self._model._meta.concrete_fields
                if each is not automatic and not each.generated
            ],
            [row],
        )
        [(sql, params)] = query.get_compiler(connection.alias).as_sql()
        if fixed := slots.keys() - {each.name for each in params if isinstance(each, Slot)}:
            raise TypeError(
                f"{', '.join(fixed)} would be the same in every row: Django computes it when it saves."
            )
        return sql, params, None


@cache
def _columns(model: type[Model], given: frozenset[str]) -> list[str]:
    """The names of the columns whose values an instance has."""
    fields = (field for field in model._meta.concrete_fields if field is not model._meta.auto_field)
    return [field.attname for field in fields if field.attname not in given and not _by_database(field)]


def _by_database(field: Field[Any, Any]) -> bool:
    """Only the database knows the value. A default in Python goes first: that of the database is for older code."""
    return field.generated or (field.has_db_default() and not field.has_default())


def _typed(model: type[Model], changes: dict[str, Any]) -> dict[str, Any]:
    """Slots that stand alone take the field of their column."""
    return {
        name: Slot(value.name, model._meta.get_field(name)) if isinstance(value, Slot) else value  # type: ignore[arg-type]
        for name, value in changes.items()
    }


def _converter(compiler: Any) -> Callable[[Sequence[Any]], Sequence[Any]]:
    """Brings a row into Python's types."""
    converters = compiler.get_converters([column for column, _, _ in compiler.select]).items()

    def convert(row: Sequence[Any]) -> Sequence[Any]:
        values = list(row)
        for at, (functions, expression) in converters:
            for function in functions:
                values[at] = function(values[at], expression, connection)
        return values

    return convert if converters else tuple


def _instances(
    compiler: Any, convert: Callable[[Sequence[Any]], Sequence[Any]]
) -> Callable[..., Iterator[Any]]:
    """What ModelIterable does with rows, once the statement is known."""
    select, klass = compiler.select, compiler.klass_info
    start, end = klass["select_fields"][0], klass["select_fields"][-1] + 1
    names = [column.target.attname for column, _, _ in select[start:end]]
    related = get_related_populators(klass, select, connection.alias)  # type: ignore[call-arg] # stubs of Django 6
    annotations = (compiler.annotation_col_map or {}).items()

    def build(rows: Iterable[Sequence[Any]]) -> Iterator[Any]:
        for row in map(convert, rows):
            found = klass["model"].from_db(connection.alias, names, row[start:end])
            for each in related:
                each.populate(row, found)
            for name, at in annotations:
                setattr(found, name, row[at])
            yield found

    return build
