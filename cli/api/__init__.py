"""How the command line reaches a Storyloom: trusted addresses, the sign-in, and the REST API's calls."""
