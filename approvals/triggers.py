"""Triggers, on both databases: only their owner changes the audit trail, and no changed policy goes unnoticed."""

from __future__ import annotations

from typing import Any

TABLE = "approvals_auditentry"
MARK = "approvals_policymark"
REFUSAL = "audit entries are never changed or deleted"
_AUDIT_SQLITE = {
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
_AUDIT_POSTGRESQL = f"""
    CREATE OR REPLACE FUNCTION nod_audit_is_insert_only() RETURNS trigger LANGUAGE plpgsql AS
    $$ BEGIN RAISE EXCEPTION '{REFUSAL}'; END $$;
    CREATE OR REPLACE TRIGGER audit_entry_insert_only BEFORE UPDATE OR DELETE OR TRUNCATE ON {TABLE}
    FOR EACH STATEMENT EXECUTE FUNCTION nod_audit_is_insert_only();
"""

# Whoever changes a policy, its groups or a group's name changes the mark too: processes keep policies by it.
_MARKED = {
    "approvals_toolpolicy": "policy",
    "approvals_toolpolicy_groups": "policy_groups",
    "auth_group": "group",
}
_MARK_SQLITE = {
    f"{name}_marked_on_{verb.lower()}": f"""
        CREATE TRIGGER IF NOT EXISTS {name}_marked_on_{verb.lower()} AFTER {verb} ON {table} BEGIN
            INSERT INTO {MARK} (id, mark) VALUES (1, lower(hex(randomblob(16))))
            ON CONFLICT (id) DO UPDATE SET mark = excluded.mark;
        END"""
    for table, name in _MARKED.items()
    for verb in ("INSERT", "UPDATE", "DELETE")
}
# Before: whoever writes takes the mark first and a policy's row second, so that nobody waits in a circle.
_MARK_POSTGRESQL = f"""
    CREATE OR REPLACE FUNCTION nod_mark_policies() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
        INSERT INTO {MARK} (id, mark) VALUES (1, gen_random_uuid()::text)
        ON CONFLICT (id) DO UPDATE SET mark = excluded.mark;
        RETURN NULL;
    END $$;
""" + "".join(
    f"""
    CREATE OR REPLACE TRIGGER {name}_marked BEFORE INSERT OR UPDATE OR DELETE OR TRUNCATE ON {table}
    FOR EACH STATEMENT EXECUTE FUNCTION nod_mark_policies();
    """
    for table, name in _MARKED.items()
)


def create(connection: Any) -> None:
    """All of them."""
    protect_trail(connection)
    mark_policies(connection)


def protect_trail(connection: Any) -> None:
    sqlite = connection.vendor == "sqlite"
    _execute(connection, list(_AUDIT_SQLITE.values()) if sqlite else [_AUDIT_POSTGRESQL])


def mark_policies(connection: Any) -> None:
    sqlite = connection.vendor == "sqlite"
    _execute(connection, list(_MARK_SQLITE.values()) if sqlite else [_MARK_POSTGRESQL])


def expose_trail(connection: Any) -> None:
    """Takes the audit trail's protection away."""
    if connection.vendor == "sqlite":
        _execute(connection, [f"DROP TRIGGER IF EXISTS {name}" for name in _AUDIT_SQLITE])
    else:
        _execute(connection, [f"DROP TRIGGER IF EXISTS audit_entry_insert_only ON {TABLE}"])


def unmark_policies(connection: Any) -> None:
    if connection.vendor == "sqlite":
        _execute(connection, [f"DROP TRIGGER IF EXISTS {name}" for name in _MARK_SQLITE])
    else:
        _execute(
            connection,
            [f"DROP TRIGGER IF EXISTS {name}_marked ON {table}" for table, name in _MARKED.items()],
        )


def _execute(connection: Any, statements: list[str]) -> None:
    with connection.cursor() as cursor:
        for statement in statements:
            cursor.execute(statement)
