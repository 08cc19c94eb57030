"""`smart-connect demo`: the whole product on this machine, with real servers, and a check of every record. `command` tells the story,
`stage` sets it up, `source` writes, `task` drives the API, `bucket` and `peer` count, `screen` shows.
"""
