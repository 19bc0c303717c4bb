"""Each mutant: one check less, and the tests of which one has to fail then.

A mutant is one that somebody might write by accident: a condition that went missing in a refactoring. `old` stands
once in its file (tests/unit/test_mutants.py), so that the list cannot rot unnoticed.
"""

from __future__ import annotations

from dataclasses import dataclass

MODEL = "tests/integration/test_model_check.py"


@dataclass(frozen=True)
class Mutant:
    """`tests`: files or tests of pytest, each of which has to fail by itself."""

    promise: str
    path: str
    old: str
    new: str
    tests: tuple[str, ...]


def _in(folder: str, name: str, *tests: str) -> tuple[str, ...]:
    return tuple(f"tests/{folder}/test_{name}.py::test_{test}" for test in tests)


CALLS, DECISIONS = "approvals/actions/calls.py", "approvals/actions/decisions.py"
UNDOING, SETTLEMENTS = "approvals/actions/undoing.py", "approvals/actions/settlements.py"
SETTLE = "settle(**_seen(call, ruling), status=status, approves=int(status == Status.APPROVED), **edits)"
RUNS, LEDGER = "agents/actions/runs.py", "agents/ledger.py"
AUDIT, VERIFY = "approvals/audit.py", "approvals/verify.py"

MUTANTS = (
    # --- A decision ------------------------------------------------------------------------------------
    Mutant(
        "nobody decides on an older version of the call",
        DECISIONS,
        '        version=Slot("version"),\n        digest=Slot("seen"),\n',
        '        digest=Slot("seen"),\n',
        _in("integration", "decisions", "it_refuses_another_version"),
    ),
    Mutant(
        "nobody decides on another content",
        DECISIONS,
        '        version=Slot("version"),\n        digest=Slot("seen"),\n',
        '        version=Slot("version"),\n',
        (*_in("integration", "decisions", "it_refuses_another_digest"), MODEL),
    ),
    Mutant(
        "nobody decides what has expired, though no sweeper has come",
        DECISIONS,
        '        digest=Slot("seen"),\n        expires_at__gt=Now(),\n',
        '        digest=Slot("seen"),\n',
        (*_in("integration", "decisions", "it_refuses_what_expired_by_the_database_s_clock"), MODEL),
    ),
    Mutant(
        "one of many reviewers wins",
        DECISIONS,
        f"    if not {SETTLE}:\n",
        f"    {SETTLE}\n    if False:\n",
        _in("integration", "decisions", "it_has_one_winner_among_many"),
    ),
    Mutant(
        "nobody decides what they asked for",
        "approvals/permissions.py",
        'if user.pk == call.requested_by_id and not call.term("requester_may_decide"):',
        "if False:",
        (*_in("integration", "decisions", "it_refuses_a_superuser_who_asked"), MODEL),
    ),
    Mutant(
        "a lost decision gives no trust",
        DECISIONS,
        "@audit.audited(durable=True)\ndef _decide(",
        "def _decide(",
        _in("integration", "trust", "it_is_not_granted_for_what_the_reviewer_did_not_see"),
    ),
    Mutant(
        "a decision wakes its run",
        "agents/receivers.py",
        '@receiver(settled, dispatch_uid="agents.wake")\n',
        "",
        (*_in("integration", "runs", "it_is_woken_once_by_the_last_decision"), MODEL),
    ),
    Mutant(
        "an undone decision counts no more",
        UNDOING,
        "    Decision.objects.filter(pk=decision.pk).update(undone_at=Now())\n",
        "",
        _in("integration", "settlements", "it_undoes_a_decision"),
    ),
    Mutant(
        "what the model is about to be told is not undone",
        RUNS,
        "if told or (status == RunStatus.RUNNING and call.status == Status.DENIED):",
        "if told:",
        _in("integration", "settlements", "it_does_not_undo_a_denial_that_a_worker_is_about_to_tell"),
    ),
    Mutant(
        "what the model has been told is not undone",
        RUNS,
        "if told or (status == RunStatus.RUNNING and call.status == Status.DENIED):",
        "if status == RunStatus.RUNNING and call.status == Status.DENIED:",
        _in("integration", "settlements", "it_does_not_undo_a_denial_of_an_earlier_turn"),
    ),
    Mutant(
        "who lets a call run again decides anew",
        CALLS,
        "grant_id = decision.grant_id if decision else call.trust_id",
        "grant_id = call.trust_id or (decision.grant_id if decision else None)",
        _in("integration", "settlements", "it_runs_again_though_the_trust_was_revoked_that_started_it"),
    ),
    Mutant(
        "what trust had started is not started again after a revoke",
        CALLS,
        "grant_id = decision.grant_id if decision else call.trust_id",
        "grant_id = decision.grant_id if decision else None",
        _in("integration", "deploys", "what_trust_had_started_is_not_started_again_after_a_revoke"),
    ),
    Mutant(
        "what is in the ledger is told, whatever the code is by now",
        LEDGER,
        "        call = self._find(use)\n        if call is not None:\n            return self._known(call)\n",
        "        use = self._whole(use)\n        call = self._find(use)\n        if call is not None:\n"
        "            return self._known(call)\n",
        _in("integration", "deploys", "what_has_run_is_told_though_the_agent_lost_the_tool"),
    ),
    Mutant(
        "what was recorded is not told as an error",
        LEDGER,
        "            mine = runs.still_mine(self.run)\n        except Exception as error:",
        "            mine = True\n        except Exception as error:",
        _in("integration", "deploys", "what_was_recorded_is_not_told_as_an_error"),
    ),
    Mutant(
        "an approval lapses in its time though its run was set aside",
        RUNS,
        "    _let_windows_run(str(run.pk))\n",
        "",
        _in("integration", "runs", "an_approval_that_came_before_a_run_was_set_aside_lapses_too"),
    ),
    Mutant(
        "an undo takes the edit back too",
        UNDOING,
        "    if call.proposed is not None and not left",
        "    if False and not left",
        _in("integration", "settlements", "it_takes_an_edit_back_too"),
    ),
    # --- The claim, just before the effect ---------------------------------------------------------------
    Mutant(
        "an approval lapses when nobody used it in time",
        CALLS,
        "_USABLE = Q(executable_until__gt=Now())",
        "_USABLE = Q(pk=_PK)",
        _in("integration", "loop", "it_refuses_an_approval_that_came_too_late"),
    ),
    Mutant(
        "what is stored is what was digested",
        CALLS,
        "if stored != call.digest or not _approved(call, decision):",
        "if not _approved(call, decision):",
        _in("integration", "loop", "it_refuses_a_row_that_was_edited"),
    ),
    Mutant(
        "nothing runs without a decision on it",
        CALLS,
        "if stored != call.digest or not _approved(call, decision):",
        "if stored != call.digest:",
        _in(
            "integration",
            "loop",
            "it_refuses_an_approval_without_a_decision",
            "it_refuses_arguments_and_digest_that_were_forged_together",
        ),
    ),
    Mutant(
        "a decision counts for its digest alone",
        CALLS,
        "return decision.choice != Choice.DENY and decision.digest == call.digest",
        "return decision.choice != Choice.DENY",
        _in("integration", "loop", "it_refuses_arguments_and_digest_that_were_forged_together"),
    ),
    Mutant(
        "code that is not in the catalogue does not run",
        "approvals/actions/verdicts.py",
        "if request.definition and request.definition != tool.definition:",
        "if False:",
        _in("integration", "loop", "it_starts_nothing_whose_code_is_not_in_the_catalogue"),
    ),
    Mutant(
        "a policy that blocks by now wins",
        CALLS,
        "if judged.verdict.effect == Effect.BLOCK:\n        return Fault.BLOCKED",
        "if False:\n        return Fault.BLOCKED",
        _in("integration", "loop", "it_heeds_a_policy_that_blocks_now"),
    ),
    Mutant(
        "a revoke stops the call on which trust was given",
        CALLS,
        "    if not _trust_stands(call, decision):\n        return _fault(Fault.REVOKED)\n",
        "",
        _in("integration", "trust", "a_revoke_stops_the_call_on_which_it_was_given"),
    ),
    Mutant(
        "trust that was revoked a moment ago starts nothing",
        CALLS,
        "    call.trust = judged.grant if used else None\n    return bool(used)",
        "    call.trust = judged.grant\n    return True",
        _in("integration", "trust", "it_asks_when_it_is_revoked_while_it_is_claimed"),
    ),
    Mutant(
        "an approved call runs for what was approved, not for what is asked now",
        LEDGER,
        "return None if _same(call, self._whole(use)) else Fault.REQUEST",
        "return None",
        _in(
            "integration",
            "loop",
            "it_refuses_what_a_hook_changes_behind_the_gate",
            "it_refuses_the_id_of_an_approved_call_for_other_arguments",
        ),
    ),
    Mutant(
        "an id of an earlier message starts nothing",
        LEDGER,
        "        if call.turn != self._this_turn():\n            return port.Refuse(REPEATED)\n",
        "",
        _in("integration", "loop", "it_refuses_an_id_of_an_earlier_message"),
    ),
    Mutant(
        "one id twice in a message starts nothing",
        "agents/gate.py",
        'if _count(event.agent.messages[-1], use["toolUseId"]) > 1:',
        "if False:",
        _in("integration", "loop", "it_refuses_one_id_twice_in_a_message"),
    ),
    Mutant(
        "the tool gets the arguments of the ledger",
        "agents/runtimes/local.py",
        'changed = context.replace(tool_use={**context.tool_use, "input": started.arguments})',
        "changed = context",
        _in("integration", "loop", "it_runs_the_edited_arguments_and_says_so"),
    ),
    Mutant(
        "a worker that stood still begins nothing",
        "agents/runtimes/local.py",
        "if _start_by.get().passed():",
        "if False:",
        _in("integration", "loop", "a_worker_that_stood_still_does_not_begin"),
    ),
    # --- Runs and workers --------------------------------------------------------------------------------
    Mutant(
        "one worker claims a run",
        RUNS,
        "        Q(status=RunStatus.QUEUED) | Q(status=RunStatus.RUNNING, lease_until__lt=Now()), pk=_PK\n",
        "        Q(status__in=(RunStatus.QUEUED, RunStatus.RUNNING)), pk=_PK\n",
        _in("integration", "runs", "it_is_claimed_once", "it_is_claimed_by_one_of_many"),
    ),
    Mutant(
        "an old worker writes nothing",
        RUNS,
        'return _rows(pk=_PK, epoch=Slot("epoch"), claim=Slot("claim"))',
        "return _rows(pk=_PK)",
        _in("integration", "runs", "it_lets_an_old_worker_write_nothing"),
    ),
    Mutant(
        "an old worker starts nothing",
        LEDGER,
        "        runs.check_epoch(self.run)\n",
        "",
        (*_in("integration", "loop", "it_starts_no_tool_after_a_stop"), MODEL),
    ),
    Mutant(
        "an old worker records nothing",
        CALLS,
        'lambda: ToolCall.objects.filter(pk=_PK, status=Status.STARTED, epoch=Slot("epoch")),',
        "lambda: ToolCall.objects.filter(pk=_PK, status=Status.STARTED),",
        _in("integration", "ledger", "it_records_nothing_for_another_epoch"),
    ),
    Mutant(
        "what a dead worker started is not repeated by guess",
        RUNS,
        "    for call in started.exclude(tool__in=repeatable):\n"
        "        calls.mark_unknown(call, Fault.WORKER_DIED)",
        "    for call in started.exclude(tool__in=repeatable):\n"
        "        ToolCall.objects.filter(pk=call.pk).update(status=Status.APPROVED)",
        (*_in("integration", "runs", "it_never_repeats_what_a_dead_worker_started"), MODEL),
    ),
    Mutant(
        "only tools that say so are started again",
        CALLS,
        "return Tool.objects.filter(name=call.tool, idempotent=True).exists()",
        "return True",
        _in("integration", "settlements", "it_does_not_start_again_what_is_idempotent_no_more"),
    ),
    Mutant(
        "an idempotent tool gets the same key again",
        CALLS,
        "    return call.pk.hex\n",
        '    return f"{call.pk.hex}{call.epoch}"\n',
        _in("integration", "settlements", "it_starts_an_idempotent_call_again_with_the_same_key"),
    ),
    Mutant(
        "nothing is run again while it may be running",
        "approvals/actions/settlements.py",
        "if ToolCall.objects.filter(pk=call.pk, started_at__gt=Now() - patience).exists():",
        "if False:",
        _in("integration", "settlements", "it_is_not_run_again_while_it_may_still_be_running"),
    ),
    Mutant(
        "a run goes on when all of its calls are decided, not before",
        RUNS,
        "Run.objects.filter(~Exists(_unsettled(_CALLS_OF)), ",
        "Run.objects.filter(",
        _in("integration", "settlements", "siblings_wait_for_the_unknown_one"),
    ),
    Mutant(
        "a run goes on when all of its questions are answered, not before",
        RUNS,
        "~Exists(_open_questions(_PK)), pk=_PK)",
        "pk=_PK)",
        _in(
            "integration", "chat_questions", "several_questions_wait_for_all_answers_and_too_many_are_refused"
        ),
    ),
    Mutant(
        "the first answer to a question counts",
        "agents/actions/questions.py",
        "Question.objects.filter(pk=question.pk, status=QuestionStatus.OPEN)",
        "Question.objects.filter(pk=question.pk)",
        _in("integration", "chat_questions", "the_first_answer_counts"),
    ),
    Mutant(
        "a person writes anew only what nothing waits for",
        "agents/actions/rewriting.py",
        "if calls.filter(status__in=OPEN).exists():",
        "if not calls:",
        _in("integration", "chat_editing", "it_waits_for_calls_that_are_not_over"),
    ),
    Mutant(
        "an early approval does not lapse for a late sibling",
        DECISIONS,
        "if call.status == Status.APPROVED and not call.run:",
        "if call.status == Status.APPROVED:",
        _in("integration", "runs", "its_windows_open_with_the_last_decision"),
    ),
    Mutant(
        "a run that breaks off again and again is set aside",
        RUNS,
        "if run is None or run.attempts <= settings.RUN_MAX_ATTEMPTS:",
        "if True:",
        _in("integration", "runs", "it_is_given_up_after_so_many_attempts"),
    ),
    Mutant(
        "a decision that comes while the worker puts the run to sleep is seen",
        LEDGER,
        "            runs.wake_if_decided(str(self.run.pk))  # it may have been decided since it was read",
        "            pass",
        (MODEL,),
    ),
    Mutant(
        "what an ended run left is tied up",
        RUNS,
        "    calls.cancel(mine, actor)\n",
        "",
        (
            *_in(
                "integration", "runs", "it_stops_a_waiting_run", "it_stops_what_was_approved_but_not_started"
            ),
            MODEL,
        ),
    ),
    Mutant(
        "the sweeper finds what the broker forgot",
        RUNS,
        "found = list(Run.objects.filter(late | dead)",
        "found = list(Run.objects.filter(dead)",
        _in("integration", "runs", "it_finds_what_the_broker_forgot"),
    ),
    Mutant(
        "the sweeper finds what a dead worker left",
        RUNS,
        "found = list(Run.objects.filter(late | dead)",
        "found = list(Run.objects.filter(late)",
        _in("integration", "runs", "it_finds_what_a_dead_worker_left"),
    ),
    Mutant(
        "a decision wins over a sweeper that has read the call as due",
        CALLS,
        "    still = Q(pk=call.pk, status=before)\n",
        "    still = Q(pk=call.pk)\n",
        _in("integration", "runs", "a_decision_wins_over_a_sweeper_that_has_read_the_call_as_due"),
    ),
    Mutant(
        "times are the database's, not a worker's",
        RUNS,
        "    lease_until=Now() + _LEASE,\n    draft",
        '    lease_until=__import__("django.utils.timezone").utils.timezone.now() + _LEASE,\n    draft',
        _in("integration", "clocks", "a_lease_is_as_long_as_it_is"),
    ),
    # --- Trust and policy ----------------------------------------------------------------------------------
    Mutant(
        "trust ends",
        "approvals/models.py",
        "return Q(revoked_at=None, expires_at__gt=Now()) & (",
        "return Q(revoked_at=None) & (",
        _in("integration", "trust", "it_ends_when_it_expires"),
    ),
    Mutant(
        "trust covers so many calls",
        "approvals/models.py",
        '(Q(max_uses=None) | Q(uses__lt=F("max_uses")))',
        "Q()",
        _in("integration", "trust", "it_covers_so_many_calls"),
    ),
    Mutant(
        "trust is for one session",
        "approvals/actions/verdicts.py",
        '        session=Slot("session"),\n        tool=OuterRef',
        "        tool=OuterRef",
        _in("integration", "trust", "it_does_not_reach_other_sessions"),
    ),
    Mutant(
        "trust is for one definition",
        "approvals/actions/verdicts.py",
        '        definition=OuterRef("definition"),\n',
        "",
        _in("integration", "trust", "it_ends_with_the_definition"),
    ),
    Mutant(
        "nobody trusts what is always asked for",
        DECISIONS,
        "    if call.effect == Effect.ALWAYS_ASK:\n",
        "    if False:\n",
        _in("integration", "decisions", "it_refuses_trust_in_what_is_always_asked"),
    ),
    Mutant(
        "a definition that nobody looked at is asked for",
        "approvals/policy.py",
        "if winner.effect == Effect.ALLOW and not facts.known:",
        "if False:",
        _in("unit", "policy", "it_asks_for_a_definition_that_nobody_looked_at"),
    ),
    Mutant(
        "a block wins over all else",
        "approvals/policy.py",
        "_first(about, facts, Effect.BLOCK) or _first(about, facts, Effect.ALWAYS_ASK)",
        "_first(about, facts, Effect.ALWAYS_ASK) or _first(about, facts, Effect.BLOCK)",
        _in("unit", "policy", "it_blocks_whatever_else_matches"),
    ),
    Mutant(
        "a condition without an answer does not allow",
        "approvals/policy.py",
        "return self.effect != Effect.ALLOW",
        "return True",
        _in("unit", "policy_reference", "it_differs_from_the_naive_one_in_nothing"),
    ),
    Mutant(
        "policies that were changed are read anew",
        "approvals/actions/verdicts.py",
        "    if mark and mark == known:\n",
        "    if known:\n",
        _in("integration", "policy_cache", "whoever_changes_them_is_noticed"),
    ),
    Mutant(
        "trust does not go further than the word of one",
        "approvals/policy.py",
        "    if facts.trusted and not (winner and _beyond_trust(winner, facts)):\n",
        "    if facts.trusted:\n",
        _in("integration", "quorum", "trust_given_on_a_narrow_policy_does_not_cover_a_stricter_one"),
    ),
    Mutant(
        "trust does not hide a stricter policy at the claim",
        CALLS,
        "heed_trust=decision is None",
        "heed_trust=True",
        _in("integration", "quorum", "trust_does_not_hide_a_policy_of_which_it_would_be_enough"),
    ),
    Mutant(
        "trust covers the arguments that it was given for",
        "approvals/actions/verdicts.py",
        "if covers(grant.scope, request.arguments)",
        "if grant",
        _in("integration", "roles", "trust_in_the_same_address_covers_no_other"),
    ),
    # --- Several people ------------------------------------------------------------------------------------
    Mutant(
        "nobody counts twice",
        DECISIONS,
        "    if counting.filter(by=user).exists():\n",
        "    if False:\n",
        _in("integration", "quorum", "nobody_counts_twice"),
    ),
    Mutant(
        "it takes as many as it takes",
        DECISIONS,
        'approvals__gte=F("quorum")',
        "approvals__gte=1",
        _in("integration", "quorum", "it_takes_two"),
    ),
    Mutant(
        "an edit makes earlier approvals void",
        DECISIONS,
        "        counting.update(undone_at=Now())\n        return voided\n",
        "        return voided\n",
        _in("integration", "quorum", "an_edit_makes_earlier_approvals_void"),
    ),
    Mutant(
        "approvals are counted anew at the claim",
        CALLS,
        "    if decision and not _enough(call):\n",
        "    if False:\n",
        _in("integration", "quorum", "it_does_not_run_on_fewer_approvals_than_it_takes"),
    ),
    Mutant(
        "a lenient policy that is gone is lenient no more",
        CALLS,
        "    if decision and judged.verdict.asks and stricter(",
        "    if decision and judged.verdict.asks and judged.verdict.policy and stricter(",
        _in("integration", "quorum", "a_lenient_policy_that_is_gone_is_lenient_no_more"),
    ),
    Mutant(
        "of two that tie the one that asks more people counts",
        "approvals/policy.py",
        "rule.effect == Effect.ALLOW, -rule.terms.quorum, rule.name",
        "rule.effect == Effect.ALLOW, 0, rule.name",
        _in("unit", "policy_reference", "it_differs_from_the_naive_one_in_nothing"),
    ),
    Mutant(
        "a stricter policy wins over an approval",
        CALLS,
        "stricter(judged.verdict.terms, thawed(call.terms))",
        "False",
        _in("integration", "quorum", "a_stricter_policy_wins_over_an_approval"),
    ),
    Mutant(
        "only the exact word approves",
        DECISIONS,
        "    if word and typed.strip() != word:\n",
        "    if word and typed.strip().lower() != word:\n",
        _in("integration", "quorum", "only_the_exact_word_approves"),
    ),
    Mutant(
        "a run-again of several waits for all of them",
        SETTLEMENTS,
        'if counts["approvals"] < call.quorum:',
        "if False:",
        _in("integration", "quorum", "to_run_it_again_takes_two_once_more"),
    ),
    # --- Limits --------------------------------------------------------------------------------------------
    Mutant(
        "people are not asked once more for what they denied three times",
        "approvals/actions/limits.py",
        "    if denied >= settings.DENIALS_A_CALL:\n",
        "    if False:\n",
        _in("integration", "limits", "it_does_not_ask_a_fourth_time_for_what_was_denied_three_times"),
    ),
    # --- The audit trail -----------------------------------------------------------------------------------
    Mutant(
        "what is not written down is not done",
        AUDIT,
        "            yield\n            _store(collected)\n",
        "            yield\n            try:\n                with transaction.atomic():\n"
        "                    _store(collected)\n            except Exception:\n                pass\n",
        _in("integration", "audit", "without_the_audit_there_is_no_change"),
    ),
    Mutant(
        "a changed entry is found",
        VERIFY,
        'if not chain.entry_is_genuine(self._keys, fields, fields["hash"]):',
        "if False:",
        _in("integration", "audit", "it_finds_a_changed_entry"),
    ),
    Mutant(
        "a missing entry is found",
        VERIFY,
        'if fields["prev"] != self._last[name]:',
        "if False:",
        _in("integration", "audit", "it_finds_a_deleted_entry"),
    ),
    Mutant(
        "a tail that was cut is found",
        VERIFY,
        "if (head.position, head.hash) != (count, self._last[head.chain]):",
        "if False:",
        _in("integration", "audit", "it_finds_a_tail_that_was_cut"),
    ),
    Mutant(
        "a chain that is gone is found",
        VERIFY,
        "            if hashes.get(position) != last:",
        "            if name in self._seqs and hashes.get(position) != last:",
        _in("integration", "audit", "it_finds_a_chain_that_is_gone"),
    ),
    Mutant(
        "a forged head is found",
        VERIFY,
        "if not chain.seal_is_genuine(self._keys, head.chain, head.position, head.hash, head.seal):",
        "if False:",
        _in("integration", "audit", "it_finds_a_chain_that_starts_over"),
    ),
    Mutant(
        "a tail that was cut is not covered up by the next entry",
        AUDIT,
        "if chain.seal_is_genuine(settings.AUDIT_KEYS, name, before, head.hash, head.seal):",
        "if True:",
        _in("integration", "audit", "it_keeps_the_evidence_of_a_tail_that_was_cut"),
    ),
    Mutant(
        "a part that is rolled back leaves no entries",
        AUDIT,
        "        del outer[before:]\n",
        "",
        _in("integration", "audit", "a_part_that_is_rolled_back_leaves_nothing"),
    ),
)
