"""One module for each of MiniStack's services, with what AWS does and MiniStack does not."""
