"""Read files into records and rejects, in a process that has limits."""
