from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("approvals", "0003_crash_safety")]

    operations = [
        migrations.AlterField(
            model_name="toolcall",
            name="fault",
            field=models.CharField(
                blank=True,
                choices=[
                    ("arguments_changed", "Its arguments are not those that were approved"),
                    ("request_changed", "The agent asks for something else than what was approved"),
                    ("definition_changed", "The tool was changed after the decision"),
                    ("blocked", "A policy blocks it now"),
                    ("trust_revoked", "The trust with which it was approved was revoked"),
                    ("too_late", "The approval was not used in time"),
                    ("worker_died", "The worker died while it ran"),
                    ("stopped", "The worker was stopped while it ran"),
                    ("timed_out", "It took too long, and nobody waited for its end"),
                ],
                help_text="Why it did not run as decided.",
                max_length=30,
            ),
        ),
    ]
