"""What keeps the audit trail from being changed by anybody but the database's owner: triggers, on both databases."""

from __future__ import annotations

from typing import Any

REFUSAL = "audit entries are never changed or deleted"
_SQLITE = {
    f"audit_entry_no_{verb.lower()}": f"""
        CREATE TRIGGER audit_entry_no_{verb.lower()} BEFORE {verb} ON approvals_auditentry
        BEGIN SELECT RAISE(ABORT, '{REFUSAL}'); END"""
    for verb in ("UPDATE", "DELETE")
}
_POSTGRESQL = f"""
    CREATE OR REPLACE FUNCTION nod_audit_is_insert_only() RETURNS trigger LANGUAGE plpgsql AS
    $$ BEGIN RAISE EXCEPTION '{REFUSAL}'; END $$;
    CREATE TRIGGER audit_entry_insert_only BEFORE UPDATE OR DELETE OR TRUNCATE ON approvals_auditentry
    FOR EACH STATEMENT EXECUTE FUNCTION nod_audit_is_insert_only();
"""


def create(schema_editor: Any) -> None:
    if schema_editor.connection.vendor == "sqlite":
        for statement in _SQLITE.values():
            schema_editor.execute(statement)
    else:
        schema_editor.execute(_POSTGRESQL)


def drop(schema_editor: Any) -> None:
    if schema_editor.connection.vendor == "sqlite":
        for name in _SQLITE:
            schema_editor.execute(f"DROP TRIGGER IF EXISTS {name}")
    else:
        schema_editor.execute("DROP TRIGGER IF EXISTS audit_entry_insert_only ON approvals_auditentry")
