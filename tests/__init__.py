"""The tests. A package, because another one of that name comes with a dependency and would hide it."""
