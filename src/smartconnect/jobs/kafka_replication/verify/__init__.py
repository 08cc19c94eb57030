"""Does the target hold what a reader of the source sees, record by record? (kafka-replication.md §12). Reads both clusters and the
positions; writes nothing and fences nobody, so it runs beside the live task.

`verifier` tells the story, partition by partition; `sides` knows which records count at either end; `align` finds the pair of offsets
where the comparison may begin, `compare` goes on from there over what `log` sums up, and `diff` says how two lists of records differ.
"""
