"""Refusals of the chat; those of the desk are in approvals/errors.py."""

from approvals.errors import Refusal


class Busy(Refusal):
    """A run of the session is active."""

    code, http_status = "busy", 409


class AgentInactive(Refusal):
    code, http_status = "agent_inactive", 409


class NotLast(Refusal):
    """The message is not the last one, or what it led to is not over."""

    code, http_status = "not_last", 409


class NotOpen(Refusal):
    """Somebody has answered, or the run has ended."""

    code, http_status = "not_open", 409


class NotAChatUser(Refusal):
    code, http_status = "not_a_chat_user", 403
