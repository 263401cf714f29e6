"""The Storage stack: what outlives every other stack."""
