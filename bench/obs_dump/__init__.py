"""The dump against Bento, on the same topics, in one run: `python -m bench.obs_dump`. `__main__` is the story;
`ours` and `bento` run the two sides, `count` reads the buckets, `report` judges and stores. What it shares with others is in `common`.
"""
