"""`manage.py agentcore configure | launch | status | invoke | destroy`."""

from __future__ import annotations

import sys
from argparse import ArgumentParser
from functools import partial
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from hitl_site.agentcore import rules
from hitl_site.agentcore.aws import Aws
from hitl_site.agentcore.config import FILE, PYTHONS, Config, load, save
from hitl_site.agentcore.configure import configure, summary
from hitl_site.agentcore.deployment import Deployment
from hitl_site.agentcore.destroy import destroy, kept, recall, removed
from hitl_site.agentcore.dry import ACCOUNT, ID, DryRun
from hitl_site.agentcore.invoke import invoke, payload
from hitl_site.agentcore.launch import launch, the_zip
from hitl_site.agentcore.progress import Progress
from hitl_site.agentcore.status import status
from hitl_site.agentcore.trouble import Trouble

DRY = (
    "Nothing is done. AWS's answers are invented: it has what agentcore.json says was made, and nothing else. "
    f"{ACCOUNT} stands for an account, {ID} and CONTENT for what is not known yet."
)
CONFIGURE_FIRST = "There is no {path}. Write it first: manage.py agentcore configure"


class Command(BaseCommand):
    help = "Puts Nod's agent on Amazon Bedrock AgentCore Runtime, with boto3 alone (docs/agentcore.md)."
    requires_system_checks = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        verbs = parser.add_subparsers(dest="verb", required=True)
        for name, text, add in (
            ("configure", "say what is wanted; asks on a terminal", _configure_flags),
            ("launch", "make or update it, and wait until it serves", _launch_flags),
            ("status", "how the runtime and its endpoint stand", None),
            ("invoke", "ask the agent something, and print its answer as it comes", _invoke_flags),
            ("destroy", "take away what launch made", _destroy_flags),
        ):
            verb = verbs.add_parser(name, help=text)
            verb.add_argument("--config", type=Path, help=f"the file (default: {FILE} in the data folder)")
            verb.add_argument(
                "--dry-run",
                action="store_true",
                help="print the calls, one JSON object a line, and make none",
            )
            if add:
                add(verb)

    def handle(self, *, verb: str, **options: Any) -> None:
        path: Path = options["config"] or settings.DATA_DIR / FILE
        self.progress = Progress(self._write, live=self.stdout.isatty())
        try:
            if verb == "configure":
                self._configure(path, options)
            else:
                getattr(self, f"_{verb}")(self._work(path, options), options)
        except Trouble as trouble:
            self.progress.close()
            raise CommandError(str(trouble)) from None

    def _work(self, path: Path, options: dict[str, Any]) -> Deployment:
        config = load(path)
        if config is None:
            raise Trouble(CONFIGURE_FIRST.format(path=path))
        rules.check(config)
        if not options["dry_run"]:
            return Deployment(config, path, Aws(config.region), self.progress)
        self.stderr.write(DRY)
        quiet = Progress(_nowhere)  # the calls alone, for whoever reads them with a program
        return Deployment(config, path, DryRun(config, self.stdout.write), quiet)

    def _configure(self, path: Path, options: dict[str, Any]) -> None:
        asks = not options["no_input"] and sys.stdin.isatty() and self.stdout.isatty()
        try:
            config = configure(path, options, _ask if asks else None)
        except (KeyboardInterrupt, EOFError):
            self._stopped("Nothing was written.")
        for what, text in summary(config):
            self.progress.step(what, text)
        if options["dry_run"]:
            self.stderr.write(f"{path} was not written. To configure takes no call to AWS.")
            return
        save(path, config)
        self.progress.line(f"Written to {path}. Next: manage.py agentcore launch")

    def _launch(self, work: Deployment, options: dict[str, Any]) -> None:
        given: Path | None = options["zip"]
        if options["build_only"] and work.aws.dry:
            raise Trouble("To build takes no call to AWS: leave --dry-run out.")
        if given and work.config.image:
            raise Trouble(
                "An image is configured, so no zip is needed. To go back to one: configure --image new"
            )
        make = partial(the_zip, work, settings.BASE_DIR, settings.DATA_DIR / "agentcore", given)
        try:
            if options["build_only"]:
                make()
            else:
                make_one = None if work.aws.dry and given is None else make
                launch(work, make_one, patience=options["timeout"], wait=not options["no_wait"])
        except KeyboardInterrupt:
            self._stopped(
                f"There is by now: {work.so_far()}. To go on from there: manage.py agentcore launch"
            )

    def _status(self, work: Deployment, options: dict[str, Any]) -> None:
        status(work)

    def _invoke(self, work: Deployment, options: dict[str, Any]) -> None:
        session = rules.session(options["session"]) if options["session"] else ""
        body = payload(options["prompt"], options["approve"], options["deny"])
        try:
            session = invoke(work, body, session)
        except KeyboardInterrupt:
            self._stopped("The agent may go on with what it has begun.")
        if not work.aws.dry:
            self.stderr.write(f"To go on with this session: --session {session}")

    def _destroy(self, work: Deployment, options: dict[str, Any]) -> None:
        account = work.account()
        recall(work, account)
        going = removed(work)
        if not going and not work.aws.dry:
            self.stdout.write("There is nothing to remove: launch made nothing here, or it is gone.")
            return
        if not work.aws.dry:
            self._list("This is removed:", going)
            self._list("This stays:", kept(work))
            if not options["yes"]:
                self._confirm(work.config)
        try:
            stayed = destroy(work, account, options["timeout"])
        except KeyboardInterrupt:
            self._stopped(f"There is still: {work.so_far()}. To go on: manage.py agentcore destroy")
        if stayed:
            self._list("This stayed:", stayed)

    def _confirm(self, config: Config) -> None:
        if not sys.stdin.isatty():
            raise Trouble(
                "Nothing was removed: there is nobody to ask. Add --yes to remove it without asking."
            )
        try:
            answer = input(f"Type {config.name} to remove it: ")
        except (KeyboardInterrupt, EOFError):
            answer = ""
        if answer.strip() != config.name:
            raise Trouble("Nothing was removed.")

    def _list(self, title: str, lines: list[str]) -> None:
        self.stdout.write("\n".join([title, *(f"  {line}" for line in lines)]))

    def _write(self, text: str) -> None:
        self.stdout.write(text, ending="")
        self.stdout.flush()

    def _stopped(self, text: str) -> None:
        self.progress.close()
        raise CommandError(f"Stopped. {text}", returncode=130) from None


def _nowhere(text: str) -> None:
    """Print nothing."""


def _ask(question: str, default: str) -> str:
    return input(f"{question} [{default}]: ").strip() or default


def _configure_flags(parser: ArgumentParser) -> None:
    parser.add_argument("--name", help="of the runtime: letters, digits and _")
    parser.add_argument("--region", help="AWS region (default: that of the environment or profile)")
    parser.add_argument("--role", metavar="ARN", help="execution role; “new” (default): launch makes one")
    parser.add_argument(
        "--image", metavar="URI", help="container image in ECR; “new” (default): a zip of the code"
    )
    parser.add_argument("--bucket", metavar="NAME", help="for the zip; “new” (default): launch makes one")
    parser.add_argument("--python", choices=PYTHONS, help="for the zip (default: the one that Nod runs on)")
    parser.add_argument(
        "--model", action="append", metavar="ID", help="that it may call, the first by default; repeat, or *"
    )
    parser.add_argument(
        "--env", action="append", metavar="NAME[=VALUE]",
        help="environment variable of the agent; without a value, launch takes it from its own environment",
    )  # fmt: skip
    parser.add_argument("--remove-env", action="append", metavar="NAME")
    parser.add_argument(
        "--subnet", action="append", metavar="ID", help="run in a VPC (with --security-group); repeat"
    )
    parser.add_argument("--security-group", action="append", metavar="ID")
    parser.add_argument(
        "--idle-timeout", type=int, metavar="SECONDS", help="ends an idle session (default: 900)"
    )
    parser.add_argument(
        "--max-lifetime", type=int, metavar="SECONDS", help="ends any session (default: 28800)"
    )
    parser.add_argument("--no-input", action="store_true", help="ask nothing")


def _launch_flags(parser: ArgumentParser) -> None:
    parser.add_argument("--zip", type=Path, metavar="FILE", help="use this zip instead of building one")
    parser.add_argument("--build-only", action="store_true", help="only build the zip")
    parser.add_argument("--no-wait", action="store_true", help="do not wait until it serves")
    _timeout_flag(parser)


def _invoke_flags(parser: ArgumentParser) -> None:
    parser.add_argument("prompt", metavar="PROMPT")
    parser.add_argument(
        "--approve", action="append", default=[], metavar="TOOL", help="let it call this tool; repeat"
    )
    parser.add_argument(
        "--deny", action="append", default=[], metavar="TOOL", help="refuse it this tool; repeat"
    )
    parser.add_argument("--session", metavar="ID", help="go on with a session (default: a new one)")


def _destroy_flags(parser: ArgumentParser) -> None:
    parser.add_argument("--yes", action="store_true", help="do not ask")
    _timeout_flag(parser)


def _timeout_flag(parser: ArgumentParser) -> None:
    parser.add_argument(
        "--timeout", type=int, default=900, metavar="SECONDS", help="to wait at most (%(default)s)"
    )
