"""Which AWS account, region and app a command works on."""
