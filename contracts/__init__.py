"""What the stacks, the functions and the command line agree on: each fact is written here once."""
