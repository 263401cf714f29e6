"""What `storyloom destroy` does: delete the stacks, and list what an account still has of the app."""
