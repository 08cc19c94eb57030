"""What the benchmarks share: `data` and `sending` write topics, `lines` counts ids, `processes`, `watching`, `resting` measure, `service`
runs us, `bento` builds the peer that all of them have, `results` judges and names the files.
"""
