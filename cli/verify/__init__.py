"""`storyloom verify`: a short real run that proves, line by line, that a deployment works."""
