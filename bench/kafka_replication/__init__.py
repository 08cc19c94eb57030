"""Kafka replication against MirrorMaker 2 and Bento, between the same two brokers, on the same topics, in one run:
`python -m bench.kafka_replication`. `__main__` is the story; `cases` says what is copied, `mirror_maker`, `bento` and `ours` run the
sides, `copying` follows one copy by `tail`, `check` reads what arrived, `latency`, `wide` and `idle` are the other modes, `report`
judges and stores.
"""
