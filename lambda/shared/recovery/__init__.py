"""What follows a failure: another attempt, words for it, and resuming the run."""
