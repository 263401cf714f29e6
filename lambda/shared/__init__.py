"""Code that several functions share, one package for each subject."""
