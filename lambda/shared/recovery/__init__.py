"""Handling of failures: further attempts, explanations, and resuming a run."""
