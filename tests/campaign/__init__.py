"""A campaign of faults: damaged inputs, killed runs and failing disks without end, until the time is up.

`__main__.py` is the command, `runner.py` runs cases in processes of their own and counts. Each other module holds one
kind of fault. A new kind is a class with the attributes of `runner.Kind`, named in `kinds.py`.
"""
