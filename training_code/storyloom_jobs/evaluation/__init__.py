"""The evaluation job: compares the new adapter with its base model and the live version."""
