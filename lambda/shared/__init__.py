"""What every function shares: environment, table, bucket layout, run records, lock, the host of the model."""
