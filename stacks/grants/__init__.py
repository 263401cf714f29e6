"""What functions may do to the endpoint, batches, people and the ledger, and what they are told."""
