"""`smart-connect tasks …`: the API on the command line. `target` finds out where to call and as whom, `find` turns a name into a task,
`commands` has the commands, `watch` the live view.
"""
