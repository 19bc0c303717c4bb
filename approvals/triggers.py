"""What keeps the audit trail from being changed by anybody but the database's owner: triggers, on both databases."""

from __future__ import annotations

from typing import Any

TABLE = "approvals_auditentry"
REFUSAL = "audit entries are never changed or deleted"
_SQLITE = {
    f"audit_entry_no_{verb.lower()}": f"""
        CREATE TRIGGER IF NOT EXISTS audit_entry_no_{verb.lower()} BEFORE {verb} ON {TABLE}
        BEGIN SELECT RAISE(ABORT, '{REFUSAL}'); END"""
    for verb in ("UPDATE", "DELETE")
} | {
    # REPLACE is no DELETE to SQLite's triggers
    "audit_entry_no_replace": f"""
        CREATE TRIGGER IF NOT EXISTS audit_entry_no_replace BEFORE INSERT ON {TABLE}
        WHEN EXISTS (SELECT 1 FROM {TABLE} WHERE seq = NEW.seq)
        BEGIN SELECT RAISE(ABORT, '{REFUSAL}'); END"""
}
_POSTGRESQL = f"""
    CREATE OR REPLACE FUNCTION nod_audit_is_insert_only() RETURNS trigger LANGUAGE plpgsql AS
    $$ BEGIN RAISE EXCEPTION '{REFUSAL}'; END $$;
    CREATE OR REPLACE TRIGGER audit_entry_insert_only BEFORE UPDATE OR DELETE OR TRUNCATE ON {TABLE}
    FOR EACH STATEMENT EXECUTE FUNCTION nod_audit_is_insert_only();
"""


def create(connection: Any) -> None:
    _execute(connection, list(_SQLITE.values()) if connection.vendor == "sqlite" else [_POSTGRESQL])


def drop(connection: Any) -> None:
    if connection.vendor == "sqlite":
        _execute(connection, [f"DROP TRIGGER IF EXISTS {name}" for name in _SQLITE])
    else:
        _execute(connection, [f"DROP TRIGGER IF EXISTS audit_entry_insert_only ON {TABLE}"])


def _execute(connection: Any, statements: list[str]) -> None:
    with connection.cursor() as cursor:
        for statement in statements:
            cursor.execute(statement)
