"""The network inside other programs: one file a program, imported only by those who use it."""
