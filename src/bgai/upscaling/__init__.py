"""From a picture of any size to an enlarged one."""
