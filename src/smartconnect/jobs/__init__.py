"""A package for each kind of task, behind its `job.py`; and here what they share: connections (`clusters`), the memory budget, threads for
bulk work (`bulk_threads`), a unit's tasks (`crew`), who must end before (`waiting`), lag and rates (`lag`, `metering`), checks of names
and topics.
"""
