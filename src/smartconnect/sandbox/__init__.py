"""Real servers on this machine, without a container engine: for the demo, the tests and the benchmarks.

`kafka.kafka_cluster` and `s3.s3_server` are context managers for servers that die with whoever started them, even when that
process is killed; `stack.Sandbox` starts the same servers so that they stay until `smart-connect sandbox down`. What has to be
fetched or built lands once in the cache folder (`cache`), and `prerequisites` finds or installs the tools for that.

A further kind of server is one module: its options, a function that gives `process.ServerCommand`s, and a context manager.
"""
