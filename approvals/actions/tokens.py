"""API tokens: made, checked, revoked. Only a hash is stored."""

import hashlib
import secrets
from collections.abc import Iterable

from django.contrib.auth.models import User
from django.db.models.functions import Now

from approvals import audit
from approvals.errors import InvalidInput
from approvals.models import ApiToken
from approvals.permissions import may_sign_in

SCOPES = ("chat", "review", "agent", "admin")


@audit.audited()
def create(user: User, scopes: Iterable[str], name: str = "", actor: str = "") -> str:
    """A new token; this is the only time that it can be read."""
    wanted = sorted(set(scopes))
    if not wanted or set(wanted) - set(SCOPES):
        raise InvalidInput(f"A token takes one or more of these scopes: {', '.join(SCOPES)}.")
    key = "nod_" + secrets.token_urlsafe(32)
    token = ApiToken.objects.create(user=user, name=name, prefix=key[:10], hash=hashed(key), scopes=wanted)
    audit.record(
        "token.created",
        actor or user.get_username(),
        user=user.get_username(),
        prefix=token.prefix,
        scopes=wanted,
    )
    return key


def find(key: str) -> ApiToken | None:
    """The live token with this key, of a person who may still sign in."""
    live = ApiToken.objects.filter(hash=hashed(key), revoked_at=None, user__is_active=True)
    token = live.select_related("user").first()
    return token if token and may_sign_in(token.user) else None


@audit.audited()
def revoke(token: ApiToken, actor: str) -> None:
    if ApiToken.objects.filter(pk=token.pk, revoked_at=None).update(revoked_at=Now()):
        audit.record("token.revoked", actor, user=token.user.get_username(), prefix=token.prefix)


def hashed(key: str) -> str:
    return hashlib.sha256(key.encode(errors="surrogatepass")).hexdigest()
