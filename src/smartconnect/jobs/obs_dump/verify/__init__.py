"""Is every record of a dump in the bucket once? (obs-dump.md §10). Reads the bucket, the positions and, if asked to, the source; writes
nothing and fences nobody, so it runs beside the live task.

`verifier` tells the story; `listing` fills the `catalog`, which `ranges` goes through; `compare` holds objects against what `source` reads
from Kafka with a record reader of its own (`records`), not the dump's kernels.
"""
