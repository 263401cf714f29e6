"""Runs: their records, the lock, the timers, and what one step tells the next."""
