"""The dump against Bento, on the same topics, in one run: `python -m bench.obs_dump`. `__main__` is the story; `data` writes the topics,
`ours` and `bento` run the two sides, `count` reads the buckets, `processes` and `watching` measure, `report` judges and stores.
"""
