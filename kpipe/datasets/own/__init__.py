"""A user's own folders, files and arrays as datasets."""
