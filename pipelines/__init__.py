"""The experiments, one file each; the file's name is the pipeline's name."""
