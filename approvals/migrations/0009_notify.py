import django.db.models.deletion
import django.db.models.functions.datetime
from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("approvals", "0008_nudge"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name="Announcement",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("channel", models.CharField(choices=[("email", "E-mail"), ("push", "Push")], max_length=5)),
                (
                    "kind",
                    models.CharField(
                        choices=[
                            ("waiting", "Waits for a decision"),
                            ("unknown", "Nobody knows whether it happened"),
                        ],
                        max_length=7,
                    ),
                ),
                (
                    "noted_at",
                    models.DateTimeField(
                        db_default=django.db.models.functions.datetime.Now(), editable=False
                    ),
                ),
                (
                    "taken_at",
                    models.DateTimeField(help_text="When a message with it was first attempted.", null=True),
                ),
                (
                    "told_at",
                    models.DateTimeField(help_text="When a message with it was handed over.", null=True),
                ),
            ],
        ),
        migrations.CreateModel(
            name="NoticePreference",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("email", models.BooleanField(db_default=True, default=True)),
            ],
        ),
        migrations.CreateModel(
            name="Postbox",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("channel", models.CharField(choices=[("email", "E-mail"), ("push", "Push")], max_length=5)),
                (
                    "free_at",
                    models.DateTimeField(
                        db_default=django.db.models.functions.datetime.Now(),
                        help_text="No message begins before.",
                    ),
                ),
                (
                    "claim",
                    models.PositiveBigIntegerField(
                        db_default=0, default=0, help_text="Goes up with each attempt."
                    ),
                ),
                (
                    "failures",
                    models.PositiveSmallIntegerField(db_default=0, default=0, help_text="In a row."),
                ),
            ],
            options={
                "verbose_name_plural": "postboxes",
            },
        ),
        migrations.CreateModel(
            name="PushSubscription",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("endpoint", models.CharField(max_length=600, unique=True)),
                ("p256dh", models.CharField(max_length=100)),
                ("auth", models.CharField(max_length=40)),
                (
                    "created_at",
                    models.DateTimeField(
                        db_default=django.db.models.functions.datetime.Now(), editable=False
                    ),
                ),
                (
                    "failed_at",
                    models.DateTimeField(
                        help_text="When a push last failed, if the last one did.", null=True
                    ),
                ),
                ("failure", models.CharField(blank=True, db_default="", max_length=100)),
            ],
            options={
                "ordering": ("created_at", "pk"),
            },
        ),
        migrations.AddField(
            model_name="toolcall",
            name="announce_at",
            field=models.DateTimeField(help_text="When people are to be written to of it.", null=True),
        ),
        migrations.AddField(
            model_name="toolpolicy",
            name="notify",
            field=models.CharField(
                blank=True,
                choices=[
                    ("email", "By e-mail"),
                    ("push", "By push"),
                    ("email,push", "By e-mail and by push"),
                ],
                db_default="",
                help_text="How those who may decide are written to, once a call has waited for a minute.",
                max_length=10,
            ),
        ),
        migrations.AddIndex(
            model_name="toolcall",
            index=models.Index(
                condition=models.Q(("announce_at__isnull", False)),
                fields=["announce_at"],
                name="call_announce",
            ),
        ),
        migrations.AddField(
            model_name="announcement",
            name="call",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.CASCADE,
                related_name="announcements",
                to="approvals.toolcall",
            ),
        ),
        migrations.AddField(
            model_name="announcement",
            name="user",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.CASCADE, related_name="+", to=settings.AUTH_USER_MODEL
            ),
        ),
        migrations.AddField(
            model_name="noticepreference",
            name="user",
            field=models.OneToOneField(
                on_delete=django.db.models.deletion.CASCADE,
                related_name="notices",
                to=settings.AUTH_USER_MODEL,
            ),
        ),
        migrations.AddField(
            model_name="postbox",
            name="user",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.CASCADE, related_name="+", to=settings.AUTH_USER_MODEL
            ),
        ),
        migrations.AddField(
            model_name="pushsubscription",
            name="user",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.CASCADE,
                related_name="push_subscriptions",
                to=settings.AUTH_USER_MODEL,
            ),
        ),
        migrations.AddIndex(
            model_name="announcement",
            index=models.Index(
                condition=models.Q(("told_at", None)), fields=["user", "channel"], name="announcement_untold"
            ),
        ),
        migrations.AddConstraint(
            model_name="announcement",
            constraint=models.UniqueConstraint(
                fields=("call", "user", "channel", "kind"), name="announced_once"
            ),
        ),
        migrations.AddConstraint(
            model_name="postbox",
            constraint=models.UniqueConstraint(fields=("user", "channel"), name="one_postbox_a_channel"),
        ),
    ]
