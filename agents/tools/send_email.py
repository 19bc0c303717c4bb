"""E-mail, through whatever backend Django is configured with."""

from smtplib import SMTPAuthenticationError, SMTPRecipientsRefused, SMTPSenderRefused

from django.core.exceptions import ValidationError
from django.core.mail import send_mail
from django.core.validators import validate_email

from agents.tools.registry import ToolError, tool

# Raised before anything was handed over. After any other error nobody knows, so it is left to the runtime.
NOT_SENT = (SMTPAuthenticationError, SMTPRecipientsRefused, SMTPSenderRefused, ConnectionRefusedError)


@tool(risk="medium")
def send_email(to: str, subject: str, body: str) -> str:
    """Send an e-mail. It cannot be called back.

    Args:
        to: The address it goes to, or several with commas between.
        subject: One line that says what it is about.
        body: The text of the e-mail, signature included.
    """
    if any(ord(char) < 32 for char in to + subject):
        raise ToolError("The address and the subject have to be one line each. Nothing was sent.")
    addresses = _addresses(to)
    try:
        send_mail(subject, body, None, addresses)
    except NOT_SENT as error:
        raise ToolError("The mail server refused the e-mail. Nothing was sent.") from error
    return f'Email sent to {", ".join(addresses)} with subject "{subject}"'


def _addresses(to: str) -> list[str]:
    addresses = [address.strip() for address in to.split(",")]
    for address in addresses:
        try:
            validate_email(address)
        except ValidationError:
            what = f"{address} is not" if address else "An empty text is not"
            raise ToolError(f"{what} an e-mail address. Nothing was sent.") from None
    return addresses
