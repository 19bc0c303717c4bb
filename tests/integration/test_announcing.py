"""Who is written to about a call that waits: by policy, once, as a digest, with links that only open."""

from __future__ import annotations

import re
import threading
from datetime import timedelta
from smtplib import SMTPRecipientsRefused

import pytest
from django.contrib.auth.models import User
from django.core import mail
from django.core.mail.backends.locmem import EmailBackend
from django.db import connection
from django.test import Client
from django.utils import timezone

from approvals.actions import announcing, notices, sending
from approvals.actions.calls import mark_unknown
from approvals.actions.doubts import doubts
from approvals.actions.undoing import undo
from approvals.models import AuditEntry, ToolCall, ToolPolicy
from approvals.notice_models import Announcement, Kind, Postbox
from approvals.permissions import left_to
from approvals.policy_files import Entry
from approvals.states import Channel, Fault, Outcome, Status
from tests import desk
from tests.desk import MAIL, approve, asks, chat, deny, no_audit, pass_by, pending, sweep
from tests.fakes.model import Use

SECRET = "the-body-nobody-may-mail"


@pytest.fixture(autouse=True)
def quiet():
    """What an earlier test broke is told of anew."""
    sending._broken.clear()


@pytest.fixture
def policy(desk):
    """Those who may decide about mails are written to."""
    return ToolPolicy.objects.get(tool="send_email")


@pytest.fixture
def written(policy):
    policy.notify = "email"
    policy.save()


def ask(model, user, **changes):
    """A call that has waited for its minute."""
    model.play(asks(body=SECRET, **changes), "Done.")
    call = pending(chat(user))
    if call.announce_at:
        ripen()
    return call


def ripen():
    pass_by(ToolCall.objects.filter(announce_at__isnull=False), "announce_at")


def free():
    """Ten minutes go by."""
    pass_by(Postbox.objects.all(), "free_at")


def letters():
    """Of the mails that went out: to whom, about how many calls."""
    return sorted((mail_.to[0].partition("@")[0], mail_.body.count("/approvals/0")) for mail_ in mail.outbox)


def test_nobody_is_written_to_unless_a_policy_says_so(model, alice):
    call = ask(model, alice)
    sweep()
    assert call.announce_at is None
    assert mail.outbox == []


def test_each_who_may_decide_gets_one_mail(written, model, alice, settings):
    settings.PUBLIC_URL = "https://nod.example.org"
    call = ask(model, alice)
    sweep()
    sweep()
    assert letters() == [("remy", 1), ("rita", 1)]
    [first, _] = mail.outbox
    assert first.subject == "A call waits for you"
    assert "send_email for alice, medium risk, waiting" in first.body
    assert f"https://nod.example.org/approvals/{call.pk}/" in first.body
    assert first.extra_headers["Auto-Submitted"] == "auto-generated"


def test_a_mail_holds_no_argument_and_no_way_to_decide(written, model, alice, rita):
    call = ask(model, alice)
    sweep()
    for letter in mail.outbox:
        said = str(letter.message())
        assert SECRET not in said
        assert MAIL["to"] not in said
        assert MAIL["subject"] not in said
        for address in re.findall(r"https?://\S+", str(letter.body)):
            path = re.sub(r"^https?://[^/]+", "", address)
            assert path in ("/approvals/", f"/approvals/{call.pk}/", "/notifications/")
            assert Client().get(path)["Location"].startswith("/login/")
            client = Client()
            client.force_login(rita)
            assert client.get(path).status_code == 200
    call.refresh_from_db()
    assert call.status == Status.PENDING


def test_it_waits_a_minute_first(written, model, alice, rita):
    model.play(asks(), "Done.")
    call = pending(chat(alice))
    sweep()
    assert Announcement.objects.count() == 0
    approve(call, rita)
    ripen()
    sweep()
    assert mail.outbox == []


def test_what_was_decided_between_noting_and_sending_is_left_out(written, model, alice, rita):
    first, second = ask(model, alice), ask(model, alice, to="b@example.com")
    announcing.note_due()
    deny(first, rita)
    sending.send_due()
    assert letters() == [("remy", 1), ("rita", 1)]
    assert str(second.pk) in mail.outbox[0].body


def test_nothing_is_sent_where_nothing_is_left(written, model, alice, rita):
    call = ask(model, alice)
    announcing.note_due()
    deny(call, rita)
    sending.send_due()
    assert mail.outbox == []
    assert "call.announced" not in desk.kinds()


def test_what_is_noted_while_a_message_is_made_up_is_in_the_next_one(
    written, model, alice, rita, monkeypatch
):
    first, second = ask(model, alice), ask(model, alice, to="b@example.com")
    announcing.note_due()
    Announcement.objects.filter(call=second).delete()

    def meanwhile(*args):
        Announcement.objects.create(call=second, user=rita, channel=Channel.EMAIL, kind=Kind.WAITING)
        monkeypatch.setattr(announcing, "left_to", left_to)
        return left_to(*args)

    Postbox.objects.exclude(user=rita).delete()
    monkeypatch.setattr(announcing, "left_to", meanwhile)
    sending.send_due()
    free()
    sending.send_due()
    assert [str(first.pk) in mail.outbox[0].body, str(second.pk) in mail.outbox[-1].body] == [True] * 2
    assert len(mail.outbox) == 2


def test_a_flood_is_one_digest_and_another_after_ten_minutes(written, model, alice):
    ask(model, alice)
    sweep()
    for number in range(3):
        ask(model, alice, to=f"{number}@example.com")
    sweep()
    assert letters() == [("remy", 1), ("rita", 1)]
    free()
    sweep()
    assert letters() == [("remy", 1), ("remy", 3), ("rita", 1), ("rita", 3)]
    assert mail.outbox[-1].subject == "3 calls wait for you"
    free()
    sweep()
    assert len(mail.outbox) == 4


def test_a_long_digest_says_how_many_more(written, model, alice):
    model.play([asks(to=f"{number}@example.com") for number in range(20)], "Done.")
    chat(alice)
    ask(model, User.objects.get(username="bob"))
    sweep()
    assert letters() == [("remy", 20), ("rita", 20)]
    assert "- and 1 more\n" in mail.outbox[0].body


@pytest.mark.parametrize(
    "change",
    [
        lambda rita: User.objects.filter(pk=rita.pk).update(is_active=False),
        lambda rita: User.objects.filter(pk=rita.pk).update(email=""),
        lambda rita: rita.groups.clear(),
        lambda rita: notices.set_email(rita, False),
    ],
)
@pytest.mark.parametrize("noted_before", [True, False])
def test_who_may_not_decide_or_does_not_want_it_is_not_written_to(
    written, model, alice, rita, change, noted_before
):
    ask(model, alice)
    if noted_before:
        announcing.note_due()
    change(rita)
    sweep()
    assert letters() == [("remy", 1)]


def test_who_asked_is_not_written_to_unless_they_may_decide(written, policy, model, alice, rita):
    alice.groups.set(rita.groups.all() | alice.groups.all())
    ask(model, alice)
    sweep()
    assert letters() == [("remy", 1), ("rita", 1)]
    policy.requester_may_decide = True
    policy.save()
    ask(model, alice, to="b@example.com")
    free()
    sweep()
    assert ("alice", 1) in letters()


def test_demo_people_are_not_written_to_with_debug_off(written, model, alice, settings):
    ask(model, alice)
    settings.DEMO = False
    sweep()
    assert mail.outbox == []


def test_who_has_approved_already_is_not_written_to(written, policy, model, alice, rita):
    policy.quorum = 2
    policy.save()
    call = ask(model, alice)
    announcing.note_due()
    approve(call, rita)
    sweep()
    assert letters() == [("remy", 1)]


def test_an_unknown_outcome_is_told_of_too(written, model, alice, rita):
    call = ask(model, alice)
    sweep()
    approve(call, rita)
    ToolCall.objects.filter(pk=call.pk).update(status=Status.STARTED)
    call.refresh_from_db()
    assert mark_unknown(call, Fault.WORKER_DIED)
    ripen()
    free()
    sweep()
    assert "Did it happen? send_email for alice" in mail.outbox[-1].body


def run_again(call, by):
    """It is run again, and its worker dies once more."""
    if call.status == Status.UNKNOWN:
        desk.settle(call, by, Outcome.RUN_AGAIN)
    ToolCall.objects.filter(pk=call.pk).update(status=Status.STARTED)
    call.refresh_from_db()
    assert mark_unknown(call, Fault.WORKER_DIED)
    call.refresh_from_db()
    ripen()
    announcing.note_due()
    free()
    sweep()


def test_an_outcome_that_is_unknown_again_is_told_of_again(written, model, alice, rita, remy):
    call = ask(model, alice)
    approve(call, rita)
    run_again(call, rita)
    assert letters() == [("remy", 1), ("rita", 1)]  # who approved it may settle it too
    run_again(call, rita)
    assert letters() == [("remy", 1), ("remy", 1), ("rita", 1), ("rita", 1)]
    free()
    sweep()
    assert len(mail.outbox) == 4


def test_who_wants_it_run_again_already_is_not_written_to(written, policy, model, alice, rita, remy):
    policy.quorum = 2
    policy.save()
    call = ask(model, alice)
    for one in (rita, remy):
        approve(call, one)
        call.refresh_from_db()
    ToolCall.objects.filter(pk=call.pk).update(status=Status.STARTED)
    call.refresh_from_db()
    assert mark_unknown(call, Fault.WORKER_DIED)
    call.refresh_from_db()
    desk.settle(call, rita, Outcome.RUN_AGAIN)
    ripen()
    sweep()
    assert letters() == [("remy", 1)]


@pytest.mark.parametrize("end", [approve, deny])
def test_what_waits_again_since_its_decision_was_undone_is_told_of(written, model, alice, remy, end):
    model.play(asks(), "Done.")
    call = pending(chat(alice))
    end(call, remy)
    ripen()
    sweep()
    call.refresh_from_db()
    call = undo(call.pk, remy, call.version)
    sweep()
    assert mail.outbox == []  # it has a minute again
    ripen()
    sweep()
    assert letters() == [("remy", 1), ("rita", 1)]


def test_what_was_told_waits_again_and_is_told_once_more(written, model, alice, remy):
    call = ask(model, alice)
    sweep()
    approve(call, remy)
    call.refresh_from_db()
    undo(call.pk, remy, call.version)
    ripen()
    for _ in range(2):
        free()
        sweep()
    assert letters() == [("remy", 1), ("remy", 1), ("rita", 1), ("rita", 1)]


def test_what_was_noted_and_waits_again_is_told_once(written, model, alice, remy):
    call = ask(model, alice)
    announcing.note_due()
    approve(call, remy)
    call.refresh_from_db()
    undo(call.pk, remy, call.version)
    ripen()
    for _ in range(2):
        sweep()
        free()
    assert letters() == [("remy", 1), ("rita", 1)]


def test_one_of_several_approvals_taken_back_is_no_news(written, policy, model, alice, rita):
    policy.quorum = 2
    policy.save()
    call = ask(model, alice)
    sweep()
    approve(call, rita)
    call.refresh_from_db()
    assert undo(call.pk, rita, call.version).announce_at is None


def test_where_nobody_is_written_to_undoing_changes_nothing_in_that(model, alice, rita):
    call = ask(model, alice)
    approve(call, rita)
    call.refresh_from_db()
    assert undo(call.pk, rita, call.version).announce_at is None


def test_the_trail_says_who_was_written_to(written, model, alice):
    call = ask(model, alice)
    sweep()
    told = AuditEntry.objects.filter(kind="call.announced", call=str(call.pk))
    assert sorted(entry.data["to"] for entry in told) == ["remy", "rita"]
    assert {entry.data["channel"] for entry in told} == {"email"}
    assert {entry.actor for entry in told} == {"system"}


def test_nothing_is_taken_up_without_its_entry(written, model, alice):
    ask(model, alice)
    announcing.note_due()
    with connection.execute_wrapper(no_audit), pytest.raises(OSError, match="disk is full"):
        sending.send_due()
    assert mail.outbox == []
    assert not Announcement.objects.exclude(taken_at=None).exists()
    sending.send_due()
    assert len(mail.outbox) == 2


class Broken(EmailBackend):
    """A mail server that raises what a test puts here."""

    error: Exception | None = None
    tried = 0

    def send_messages(self, messages):
        type(self).tried += 1
        if error := type(self).error:
            raise error
        return super().send_messages(messages)


@pytest.fixture
def server(settings):
    settings.EMAIL_BACKEND = f"{__name__}.Broken"
    Broken.error, Broken.tried = None, 0
    return Broken


def test_a_mail_server_that_is_away_costs_one_line_and_is_tried_later(written, model, alice, server, caplog):
    server.error = ConnectionRefusedError(111, "Connection refused")
    ask(model, alice)
    for _ in range(3):
        sweep()
    assert caplog.text.count("Nod tries again") == 1
    assert "example.com" not in caplog.text
    assert server.tried == 2  # once a person; then they wait
    server.error = None
    sweep()
    assert mail.outbox == []
    free()
    sweep()
    assert letters() == [("remy", 1), ("rita", 1)]
    assert desk.kinds(kind="call.announced") == ["call.announced"] * 2


def test_it_waits_longer_after_each_failure_up_to_a_limit(written, model, alice, server, settings):
    settings.NOTICE_BACKOFF = (timedelta(seconds=30), timedelta(seconds=100))
    server.error = TimeoutError("timed out")
    ask(model, alice)
    announcing.note_due()
    box = Postbox.objects.filter(user__username="rita")
    Postbox.objects.exclude(pk__in=box).update(free_at=timezone.now() + timedelta(days=1))
    waits = []
    for _ in range(4):
        pass_by(box, "free_at")
        sending.send_due()
        waits.append(round((box.get().free_at - timezone.now()).total_seconds(), -1))
    assert waits == [30, 60, 100, 100]


def test_an_address_that_is_refused_does_not_keep_the_others_waiting(
    written, model, alice, server, monkeypatch
):
    real = Broken.send_messages

    def refuses(self, messages):
        if messages[0].to == ["remy@example.com"]:
            raise SMTPRecipientsRefused({"remy@example.com": (550, b"no")})
        return real(self, messages)

    monkeypatch.setattr(Broken, "send_messages", refuses)
    ask(model, alice)
    sweep()
    assert letters() == [("rita", 1)]


def test_a_worker_that_died_with_a_message_in_hand_has_it_sent_again(written, model, alice):
    """One mail too many does no harm; one too few may cost a decision."""
    ask(model, alice)
    announcing.note_due()
    taken = list(announcing.parcels(Channel.EMAIL))
    assert len(taken) == 2
    sending.send_due()
    assert mail.outbox == []
    free()
    sending.send_due()
    assert letters() == [("remy", 1), ("rita", 1)]
    announcing.failed(taken[0])  # the dead one comes back: the box is not its own any more
    assert not Postbox.objects.exclude(failures=0).exists()


@pytest.mark.django_db(transaction=True)
def test_sweepers_side_by_side_send_once(written, model, alice):
    ask(model, alice)
    barrier = threading.Barrier(4)

    def one():
        try:
            barrier.wait(10)
            for _ in range(3):
                announcing.note_due()
                sending.send_due()
        finally:
            connection.close()

    threads = [threading.Thread(target=one) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert letters() == [("remy", 1), ("rita", 1)]
    assert desk.kinds(kind="call.announced") == ["call.announced"] * 2


def test_what_waits_for_nobody_is_not_kept(written, model, alice, rita):
    call = ask(model, alice)
    sweep()
    deny(call, rita)
    desk.work()
    ask(model, alice, to="b@example.com")
    free()
    sweep()
    assert not Announcement.objects.filter(call=call).exists()


def test_a_policy_that_only_writes_to_people_makes_no_approval_lapse(policy, model, alice, rita):
    model.play(asks(), "Sent.")
    session = chat(alice)
    approve(pending(session), rita)
    policy.notify = "email,push"
    policy.save()
    desk.work()
    assert desk.statuses(session) == [Status.SUCCEEDED]


def test_trust_reaches_as_far_where_people_are_written_to(policy, model, alice, rita):
    model.play(asks(), "Done.", asks(to="b@example.com"), "Done.")
    session = chat(alice)
    desk.trust(pending(session), rita)
    policy.notify = "email"
    policy.save()
    desk.work()
    chat(alice, "Once more.", session)
    assert desk.statuses(session) == [Status.SUCCEEDED] * 2


def test_the_terms_say_how_people_are_told(written, model, alice):
    assert ask(model, alice).terms["notify"] == "email"


def test_a_call_of_an_older_version_is_told_of_to_nobody(model, alice):
    call = ask(model, alice)
    terms = {name: value for name, value in call.terms.items() if name != "notify"}
    ToolCall.objects.filter(pk=call.pk).update(terms=terms, announce_at="2026-01-01T00:00Z")
    sweep()
    assert mail.outbox == []


def test_names_with_what_cannot_be_seen_stay_on_their_line(written, model, alice):
    User.objects.filter(pk=alice.pk).update(username="ali\nce\u202e")
    ask(model, User.objects.get(pk=alice.pk))
    sweep()
    assert "for ali�ce�, medium risk" in mail.outbox[0].body


def test_the_mails_of_the_desk_are_not_in_the_agents_outbox(written, model, alice, settings):
    settings.EMAIL_BACKEND = "django.core.mail.backends.filebased.EmailBackend"
    settings.EMAIL_FILE_PATH = str(settings.OUTBOX_DIR)
    ask(model, alice)
    sweep()
    files = settings.NOTICES_DIR.glob("*.log")  # one or two: they are named by the second
    assert "".join(file.read_text() for file in files).count("\nSubject: ") == 2
    assert not settings.OUTBOX_DIR.exists()


def test_a_cancelled_call_is_told_of_to_nobody(written, model, alice):
    ask(model, alice)
    ToolCall.objects.update(status=Status.CANCELLED)
    sweep()
    assert (mail.outbox, Announcement.objects.count()) == ([], 0)


def test_two_calls_of_a_turn_are_one_mail(written, model, alice):
    model.play([Use("send_email", MAIL), Use("send_email", {**MAIL, "to": "b@example.com"})], "Done.")
    chat(alice)
    ripen()
    sweep()
    assert letters() == [("remy", 2), ("rita", 2)]


def test_the_form_says_whom_a_policy_would_not_reach(office, settings):
    settings.VAPID_KEY = ""
    assert doubts(Entry("a", "send_email", "ask")) == []
    assert doubts(Entry("a", "send_email", "ask", notify="email")) == []
    assert 'name="notify"' in office.get("/admin/approvals/toolpolicy/add/").text
    User.objects.update(email="")
    settings.DEMO = False
    said = doubts(Entry("a", "send_email", "ask", notify="email,push"))
    assert [
        word in " ".join(said) for word in ("Push is not set up", "Nobody who may", "NOD_PUBLIC_URL")
    ] == [True] * 3
