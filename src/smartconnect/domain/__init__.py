"""What everybody speaks of, as pure rules and values: tasks and their statuses (`task`), what a task is asked to do (`obs_dump_spec`,
`kafka_replication_spec`), plans (`planning`), progress, positions, problems and errors. Imports the standard library only.
"""
