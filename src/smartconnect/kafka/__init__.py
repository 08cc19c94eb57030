"""The asyncio client of Kafka for raw record batches, and everything else that Smart Connect asks of a cluster.

`cluster.Cluster` is the way in: one cluster as one user of it sees it, owner of its connections. On top of it:

* `fetcher` (many partitions → frames of raw batches), `produce_channel` (raw batches → one leader);
* `transactions` (one transactional id: fencing, offsets and partitions in transactions), `groups` and `many_groups` (stored offsets);
* `offsets` (where logs begin and end), `admin` (topics, configurations, rights);
* `batch`, `codes`, `types`, `errors`, `security`: what they speak in.

Below: `pool`, `dialing`, `connection`, `wire`, `sending`, `framing`, `buffers` carry frames; `fetch_codec`, `produce_codec`,
`metadata_codec` and `messages` (kafka-python's classes) encode them. Nothing here decodes a record."""
