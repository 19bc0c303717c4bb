"""Mutants of what agents elsewhere can rely on, and what Nod can (docs/api.md, docs/strands.md)."""

from __future__ import annotations

from tests.mutants.mutant import Mutant, tests_in

LEASES, ASKING = "approvals/actions/leases.py", "approvals/actions/elsewhere.py"


def _in(*tests: str) -> tuple[str, ...]:
    return tests_in("integration", "agent_api", *tests)


ELSEWHERE = (
    Mutant(
        "elsewhere: a claim is on what was approved",
        LEASES,
        "    if call.digest != wanted.digest:\n        return call\n",
        "",
        _in("a_claim_is_on_what_was_approved"),
    ),
    Mutant(
        "elsewhere: a claim looks again at all that a worker's claim looks at",
        LEASES,
        "    if found := changed(call, _request(call)):\n        return calls.lapse(call, *found)\n",
        "",
        _in(
            "a_policy_that_blocks_by_now_wins",
            "a_row_that_was_forged_does_not_run",
            "trust_that_ends_starts_nothing",
        ),
    ),
    Mutant(
        "elsewhere: an approval is used in time",
        LEASES,
        "in_time = Q(executable_until__gt=Now())",
        "in_time = Q(pk=call.pk)",
        _in("an_approval_that_was_not_used_lapses", "what_is_allowed_lapses_where_nobody_takes_it_up"),
    ),
    Mutant(
        "elsewhere: what trust let through starts before the trust ends",
        "approvals/actions/rechecks.py",
        "        grants = grants.filter(expires_at__gt=Now())\n",
        "        pass\n",
        _in("trust_that_ends_starts_nothing"),
    ),
    Mutant(
        "elsewhere: a lease that ended is no leave to repeat",
        LEASES,
        " or not Tool.objects.filter(name=call.tool, idempotent=True).exists()",
        "",
        _in("a_lease_that_ended_is_no_leave_to_claim_again"),
    ),
    Mutant(
        "elsewhere: what may be repeated is not claimed twice at a time",
        LEASES,
        "    over = Q(lease_until__lte=Now())\n",
        "    over = Q(pk=call.pk)\n",
        _in("what_may_be_repeated_is_claimed_again"),
    ),
    Mutant(
        "elsewhere: only who has the lease reports",
        LEASES,
        "    if call.lease and secrets.compare_digest(call.lease, hashed(secret)):\n",
        "    if call.lease:\n",
        _in("it_takes_the_lease"),
    ),
    Mutant(
        "elsewhere: silence becomes a question for a person",
        LEASES,
        "status=Status.STARTED, lease_until__lte=Now())",
        "status=Status.STARTED, lease_until=None)",
        _in("silence_leaves_the_outcome_unknown"),
    ),
    Mutant(
        "elsewhere: sessions are a person's own",
        ASKING,
        'own = f"agent/{user.pk}/"',
        'own = "agent/"',
        _in("sessions_of_two_people_never_meet"),
    ),
    Mutant(
        "elsewhere: calls are a person's own",
        ASKING,
        'filter(requested_by=user, run="")',
        'filter(run="")',
        _in("the_calls_of_others_are_not_there"),
    ),
    Mutant(
        "elsewhere: calls of chats are for workers",
        ASKING,
        'filter(requested_by=user, run="")',
        "filter(requested_by=user)",
        _in("the_calls_of_chats_are_not_for_agents_elsewhere"),
    ),
    Mutant(
        "elsewhere: a key stands for one call",
        ASKING,
        "    if not same:\n",
        "    if False:\n",
        _in("the_same_key_is_no_other_call"),
    ),
    Mutant(
        "elsewhere: nobody changes a tool of somebody else",
        "approvals/actions/outside_tools.py",
        "row.provider != ELSEWHERE or row.owner_id not in (None, user.pk)",
        "False",
        _in("nobody_changes_a_tool_that_is_not_theirs"),
    ),
    Mutant(
        "elsewhere: what is to run again can be claimed for a while",
        "approvals/actions/settlements.py",
        "        if call.elsewhere:\n            calls.open_window(call)",
        "        if False:\n            calls.open_window(call)",
        _in("what_did_not_happen_runs_again_with_another_claim"),
    ),
    Mutant(
        "elsewhere: what an administrator looked at is what they saw",
        "approvals/actions/tools.py",
        "looked_at = Tool.objects.filter(pk=tool.pk, definition=definition)",
        "looked_at = Tool.objects.filter(pk=tool.pk)",
        tests_in("integration", "agent_api_pages", "what_an_administrator_looked_at_is_what_they_saw"),
    ),
    Mutant(
        "metrics are not for whoever comes through a proxy",
        "hitl_site/metrics/views.py",
        "settings.DEMO and direct and",
        "settings.DEMO and",
        tests_in("integration", "metrics", "whoever_comes_through_a_proxy_is_not_of_this_machine"),
    ),
)
