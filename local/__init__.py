"""AWS on one machine: MiniStack, and what it lacks. Knows the AWS APIs, never the app."""
