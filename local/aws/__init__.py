"""AWS on one machine: MiniStack, and what it lacks. Knows nothing of any app; see README.md."""
