"""The app on one machine: AWS's stand-in (`local.aws`), and what deploys this app to it."""
