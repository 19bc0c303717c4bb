"""The bucket that the zip goes to. Every call names its owner: a stranger's bucket of that name gets nothing."""

from __future__ import annotations

import io
from contextlib import suppress
from pathlib import Path
from typing import Any

from hitl_site.agentcore.aws import Refused
from hitl_site.agentcore.bundle import MB
from hitl_site.agentcore.config import Config
from hitl_site.agentcore.deployment import TAG, Deployment
from hitl_site.agentcore.trouble import Trouble


def name_of(config: Config, account: str) -> str:
    return config.bucket or f"nod-agentcore-{account}-{config.region}"


def key_of(config: Config, content: str) -> str:
    """The hash of the content is in it: the same code is uploaded once."""
    return f"{folder_of(config)}{content}.zip"


def folder_of(config: Config) -> str:
    return f"{config.name}/{config.deployment}/"


def ensure(work: Deployment, account: str) -> str:
    """The name of the bucket, which is made private, closed to the public and encrypted if it is not there."""
    name = name_of(work.config, account)
    there = _look(work, name, account)
    if there and not work.created.bucket:
        recall(work, account)
    if not there:
        work.created.bucket, work.created.bucket_private = name, False
        work.keep()
        try:
            work.aws.call(
                "s3", "CreateBucket", Bucket=name, ObjectOwnership="BucketOwnerEnforced", **_place(work)
            )
        except Refused as error:
            if error.code != "BucketAlreadyExists":
                raise
            work.created.bucket = ""
            work.keep()
            raise Trouble(_of_another(name)) from None
    if work.created.bucket == name and not work.created.bucket_private:
        _close(work, name, account)
    work.progress.step("Bucket", f"{name}, {'nothing to change' if there else 'made'}")
    return name


def recall(work: Deployment, account: str) -> None:
    """Remember a bucket that was made from here, by its tag: the file may be older than what it launched."""
    name = name_of(work.config, account)
    with suppress(Refused):  # who may not read tags of a bucket has not made it
        found = work.aws.find("s3", "GetBucketTagging", Bucket=name, ExpectedBucketOwner=account) or {}
        if {"Key": TAG, "Value": work.config.deployment} in found.get("TagSet", []):
            work.created.bucket, work.created.bucket_private, work.created.code_bucket = name, True, name
            work.keep()


def _look(work: Deployment, name: str, account: str) -> bool:
    try:
        return work.aws.find("s3", "HeadBucket", Bucket=name, ExpectedBucketOwner=account) is not None
    except Refused as error:
        if error.code in ("403", "AccessDenied"):
            raise Trouble(_of_another(name)) from None
        raise


def _of_another(name: str) -> str:
    return (
        f"The bucket {name} belongs to another account, or you may not use it. "
        "Choose another with configure --bucket, or ask for s3:ListBucket on it."
    )


def _place(work: Deployment) -> dict[str, Any]:
    """us-east-1 is the one region that must not be named."""
    region = work.config.region
    return {} if region == "us-east-1" else {"CreateBucketConfiguration": {"LocationConstraint": region}}


def _close(work: Deployment, name: str, account: str) -> None:
    whose = {"Bucket": name, "ExpectedBucketOwner": account}
    nobody = dict.fromkeys(
        ("BlockPublicAcls", "IgnorePublicAcls", "BlockPublicPolicy", "RestrictPublicBuckets"), True
    )
    encrypted = [{"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "AES256"}}]
    tags = [{"Key": TAG, "Value": work.config.deployment}]
    work.aws.call("s3", "PutPublicAccessBlock", PublicAccessBlockConfiguration=nobody, **whose)
    work.aws.call(
        "s3", "PutBucketEncryption", ServerSideEncryptionConfiguration={"Rules": encrypted}, **whose
    )
    work.aws.call("s3", "PutBucketTagging", Tagging={"TagSet": tags}, **whose)
    work.created.bucket_private = True
    work.keep()


def upload(work: Deployment, account: str, name: str, key: str, file: Path | None) -> None:
    """Put a file there, unless it is there. Without a file (in a dry run) only the call is told."""
    work.created.code_bucket = name
    work.keep()
    there = work.aws.find("s3", "HeadObject", Bucket=name, Key=key, ExpectedBucketOwner=account)
    if there is not None:
        work.progress.step("Code", f"s3://{name}/{key}, nothing to upload")
        return
    work.progress.waiting("Code", f"uploading to s3://{name}/{key}")
    with file.open("rb") if file else io.BytesIO() as body:
        work.aws.call(
            "s3",
            "PutObject",
            Bucket=name,
            Key=key,
            Body=body,
            ContentType="application/zip",
            ServerSideEncryption="AES256",
            ExpectedBucketOwner=account,
        )
    size = f", {file.stat().st_size / MB:.1f} MB" if file else ""
    work.progress.step("Code", f"s3://{name}/{key}, uploaded{size}")


def remove_code(work: Deployment, account: str) -> None:
    """Take away what was uploaded from here."""
    name = work.created.code_bucket
    if not name:
        return
    whose = {"Bucket": name, "ExpectedBucketOwner": account}
    count = 0
    while found := (work.aws.find("s3", "ListObjectsV2", Prefix=folder_of(work.config), **whose) or {}).get(
        "Contents"
    ):
        objects = [{"Key": each["Key"]} for each in found]
        answer = work.aws.call("s3", "DeleteObjects", Delete={"Objects": objects, "Quiet": True}, **whose)
        if problems := answer.get("Errors"):
            raise Trouble(
                f"AWS did not remove s3://{name}/{problems[0]['Key']}: {problems[0].get('Message', '')}"
            )
        count += len(objects)
        if work.aws.dry:
            break
    work.created.code_bucket = ""
    work.keep()
    work.progress.step("Code", f"{count} removed from s3://{name}")


def remove(work: Deployment, account: str) -> str:
    """Take the bucket away, if it is Nod's own and empty. Tells what stays, and why."""
    name = work.created.bucket
    if not name:
        return ""
    try:
        done = work.aws.find("s3", "DeleteBucket", Bucket=name, ExpectedBucketOwner=account)
    except Refused as error:
        if error.code != "BucketNotEmpty":
            raise
        return f"bucket {name}: there is more in it than {work.config.name}'s code"
    work.created.bucket, work.created.bucket_private = "", False
    work.keep()
    work.progress.step("Bucket", f"{name}, {'removed' if done is not None else 'was gone already'}")
    return ""
