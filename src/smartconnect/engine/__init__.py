"""Makes the desired state true: the parent process that supervises, the worker process, its reconciler, the unit supervisors and the
reports. `unit`, `ports` and `job` are the contracts with jobs, registry and coordination.
"""
