"""Kafka to Kafka, batch by batch, each record once. `job` is what the engine and `control` see; `runner` is the loop, from which the data
path reads downwards: ARCHITECTURE.md, "The data path of a replication".
"""
