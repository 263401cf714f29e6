"""Grants: the permissions of functions on hosting, batches, people, logs and the ledger."""
