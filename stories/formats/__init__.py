"""Read files of every format into stories, before cleaning."""
