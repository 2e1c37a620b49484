"""The commands of kpipe: one module each, whose `main` takes the arguments."""
