-- The rights of a worker that cannot widen its own: it starts and records calls, and asks for them. It cannot write
-- policies, tools, trust, decisions, people, groups or tokens, and cannot read passwords, tokens or sign-ins.
--
--   psql "$DATABASE_URL" -v role=nod_worker -f docs/worker-role.sql      after each `manage.py migrate`, as the owner
--
-- The role itself is yours to make: CREATE ROLE nod_worker LOGIN PASSWORD '…'. Workers get a DATABASE_URL with it; web
-- processes and `manage.py migrate` keep the owner's.

REVOKE ALL ON ALL TABLES IN SCHEMA public FROM :role;
GRANT USAGE ON SCHEMA public TO :role;

GRANT SELECT ON
    agents_agent, agents_agent_tools, agents_session, agents_run, agents_message, agents_question,
    approvals_tool, approvals_toolpolicy, approvals_toolpolicy_groups, approvals_policymark, approvals_trustgrant,
    approvals_toolcall, approvals_decision, approvals_auditentry, approvals_audithead,
    auth_group, auth_user_groups
    TO :role;
-- People: their names, and whom to write to and where.
GRANT SELECT (id, username, email, is_active) ON auth_user TO :role;
GRANT SELECT ON
    auth_permission, auth_group_permissions, django_content_type,
    approvals_announcement, approvals_postbox, approvals_noticepreference, approvals_pushsubscription
    TO :role;

-- What it makes.
GRANT INSERT ON approvals_toolcall, approvals_auditentry, approvals_audithead, agents_message, agents_question TO :role;

-- Messages to people: who is to hear of what, and what went out. It can end a subscription, and make none.
GRANT INSERT, UPDATE, DELETE ON approvals_announcement TO :role;
GRANT INSERT, UPDATE ON approvals_postbox TO :role;
GRANT DELETE, UPDATE (failed_at, failure) ON approvals_pushsubscription TO :role;

-- What it moves on. Not what a call is: its tool, arguments, digest, requester and terms stay as they were asked.
GRANT UPDATE ON agents_run, approvals_audithead TO :role;
GRANT UPDATE (state) ON agents_session TO :role;
GRANT UPDATE (status, closed_at) ON agents_question TO :role; -- it cancels with the run; only web processes answer
GRANT UPDATE (uses) ON approvals_trustgrant TO :role;
GRANT UPDATE (last_seen) ON approvals_tool TO :role; -- that it has the tool as it is in the catalogue
GRANT UPDATE (
    status, version, fault, why, groups, epoch, escalated, executable_until, started_at, finished_at, result,
    announce_at
) ON approvals_toolcall TO :role;

-- Two of these columns move in one way only, whoever writes them: uses of trust are never given back, and the groups
-- that may decide are set once, for a call that nobody was asked for and whose outcome nobody knows.
CREATE OR REPLACE FUNCTION nod_moves_one_way() RETURNS trigger LANGUAGE plpgsql AS
    $$ BEGIN RAISE insufficient_privilege USING MESSAGE = 'permission denied: this column moves one way only'; END $$;
CREATE OR REPLACE TRIGGER trust_uses_only_grow BEFORE UPDATE OF uses ON approvals_trustgrant
    FOR EACH ROW WHEN (NEW.uses < OLD.uses) EXECUTE FUNCTION nod_moves_one_way();
CREATE OR REPLACE TRIGGER call_groups_are_set_once BEFORE UPDATE OF groups ON approvals_toolcall
    FOR EACH ROW WHEN (NEW.groups <> OLD.groups AND (OLD.groups <> '' OR NEW.status <> 'unknown'))
    EXECUTE FUNCTION nod_moves_one_way();
