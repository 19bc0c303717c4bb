"""What is measured, one file a question. `python -m bench` runs all of it (`make bench`)."""
