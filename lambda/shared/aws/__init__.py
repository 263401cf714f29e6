"""AWS's services as the functions use them: clients, tags, names."""
