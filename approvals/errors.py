"""Refusals. Each has a code and an HTTP status, which the API and the pages show alike."""

from typing import Any


class Refusal(Exception):
    """Something was asked that cannot be done. `code` is for programs, the message for people."""

    code = "refused"
    http_status = 409

    def __init__(self, message: str, **extra: Any) -> None:
        super().__init__(message)
        self.message = message
        self.extra = extra


class NotFound(Refusal):
    code, http_status = "not_found", 404


class NotAReviewer(Refusal):
    code, http_status = "not_a_reviewer", 403


class SelfApproval(Refusal):
    code, http_status = "self_approval", 403


class AlreadyDecided(Refusal):
    """Extra: `decided_by`, `decided_at`, `call_status`."""

    code, http_status = "already_decided", 409


class Stale(Refusal):
    code, http_status = "stale", 409


class Expired(Refusal):
    code, http_status = "expired", 409


class TooLate(Refusal):
    """A decision cannot be undone any more."""

    code, http_status = "too_late", 409


class TooEarly(Refusal):
    """What was started may still be under way."""

    code, http_status = "too_early", 409


class CommentRequired(Refusal):
    code, http_status = "comment_required", 422


class ConfirmRequired(Refusal):
    """Extra: `word`, which has to be typed."""

    code, http_status = "confirm_required", 422


class InvalidArguments(Refusal):
    code, http_status = "invalid_arguments", 422


class TooLong(Refusal):
    """Nobody reads so much before saying yes: the call can only be denied."""

    code, http_status = "too_long", 422


class NotTrustable(Refusal):
    code, http_status = "not_trustable", 422


class InvalidInput(Refusal):
    code, http_status = "invalid_input", 422


class DefinitionChanged(Refusal):
    """What a worker has in its code is not what the catalogue shows to people."""

    code, http_status = "definition_changed", 409


class LostClaim(Refusal):
    """Somebody else holds what this worker thought it held; it must stop without a trace."""

    code, http_status = "lost_claim", 409


# --- Of agents that run elsewhere --------------------------------------------------------------------------
class IdempotencyConflict(Refusal):
    """Extra: `call`, for which the key stands already."""

    code, http_status = "idempotency_conflict", 409


class TooManyWaiting(Refusal):
    code, http_status = "too_many", 429


class TooManyTools(Refusal):
    code, http_status = "too_many_tools", 409


class NotClaimable(Refusal):
    """The codes of a claim that fails. Extra: `call_status`."""

    code, http_status = "not_approved", 409


class Claimed(NotClaimable):
    code = "claimed"


class Lapsed(NotClaimable):
    code = "lapsed"


class Changed(NotClaimable):
    """The call is not, or not any more, what the digest of the claim covers."""

    code = "changed"


class LostLease(Refusal):
    """Extra: `call_status`."""

    code, http_status = "lost_lease", 409
