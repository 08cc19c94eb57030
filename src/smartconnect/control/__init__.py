"""What a user can ask for, whatever the wire. `tasks.TaskControl` is the way in; creating, modifying and acting stand in `creation`,
`modification` and `actions`, with `validation` and `live_checks` before them and the documented codes in `codes` and `refusals`. Stores and
jobs are known through `ports` only.
"""
