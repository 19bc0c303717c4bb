"""The audit trail becomes a set of hash chains, and insert-only. Entries that are there are signed as they are."""

from django.conf import settings
from django.db import migrations, models

from approvals import audit, chain, triggers


def sign(apps, schema_editor):
    entries, heads = apps.get_model("approvals", "AuditEntry"), apps.get_model("approvals", "AuditHead")
    ends = {}
    for entry in entries.objects.order_by("seq").iterator(chunk_size=1000):
        position, entry.prev = ends.get(entry.session, (0, ""))
        entry.hash = chain.entry_hash(settings.AUDIT_KEYS, audit.fields(entry))
        entry.save(update_fields=["prev", "hash"])
        ends[entry.session] = position + 1, entry.hash
    heads.objects.bulk_create(
        heads(
            chain=name,
            position=position,
            hash=last,
            seal=chain.seal(settings.AUDIT_KEYS, name, position, last),
        )
        for name, (position, last) in ends.items()
    )


def create_triggers(apps, schema_editor):
    triggers.protect_trail(schema_editor.connection)


def drop_triggers(apps, schema_editor):
    triggers.expose_trail(schema_editor.connection)


class Migration(migrations.Migration):
    dependencies = [("approvals", "0001_initial")]

    operations = [
        migrations.CreateModel(
            name="AuditHead",
            fields=[
                (
                    "chain",
                    models.CharField(
                        help_text="A session, or empty.", max_length=100, primary_key=True, serialize=False
                    ),
                ),
                ("position", models.PositiveBigIntegerField()),
                ("hash", models.CharField(max_length=80)),
                ("seal", models.CharField(max_length=80)),
            ],
        ),
        migrations.AlterField("auditentry", "at", models.DateTimeField(editable=False)),
        migrations.AddField(
            "auditentry",
            "prev",
            models.CharField(
                blank=True, default="", help_text="The hash of the entry before, in its chain.", max_length=80
            ),
            preserve_default=False,
        ),
        migrations.AddField(
            "auditentry", "hash", models.CharField(default="", max_length=80), preserve_default=False
        ),
        migrations.AddIndex(
            "auditentry",
            models.Index(
                condition=models.Q(("call", ""), _negated=True), fields=["call", "seq"], name="audit_call"
            ),
        ),
        migrations.AddIndex("auditentry", models.Index(fields=["kind", "seq"], name="audit_kind")),
        migrations.RunPython(sign, migrations.RunPython.noop),
        migrations.RunPython(create_triggers, drop_triggers),
    ]
