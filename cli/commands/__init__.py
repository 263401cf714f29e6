"""The commands of `storyloom`, one module for each group; `doctor` and `verify` have their own packages."""
