"""AWS's containers that train and host, and their digests."""
