"""Runs: their records, the lock, approvals, schedules, and the data that states pass on in files."""
