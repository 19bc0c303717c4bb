"""What all the verbs work on."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from hitl_site.agentcore.aws import Aws
from hitl_site.agentcore.config import Config, Created, save
from hitl_site.agentcore.progress import Progress
from hitl_site.agentcore.trouble import Trouble

TAG = "nod-agentcore"


@dataclass
class Deployment:
    """One agentcore.json, the AWS that it is about, and where to tell of it."""

    config: Config
    path: Path
    aws: Aws
    progress: Progress

    @property
    def created(self) -> Created:
        return self.config.created

    def keep(self) -> None:
        """Remember what was made, before anything else can go wrong."""
        if not self.aws.dry:
            save(self.path, self.config)

    def account(self) -> str:
        """The account that the credentials are of; refused when the agent lives in another one."""
        account = str(self.aws.call("sts", "GetCallerIdentity")["Account"])
        if self.created.account and self.created.account != account:
            raise Trouble(
                f"{self.config.name} was launched in account {self.created.account}, and these credentials are of "
                f"{account}. Use that account's profile, or another file with --config."
            )
        return account

    def so_far(self) -> str:
        """What exists by now."""
        created = self.created
        found = [
            *([f"role {created.role}"] if created.role else []),
            *([f"bucket {created.bucket}"] if created.bucket else []),
            *([f"runtime {created.runtime_id}"] if created.runtime_id else []),
        ]
        return ", ".join(found) or "nothing"
