"""`smart-connect demo`: the whole product on this machine, with real servers, and a check of every record. `command` tells the story,
`stage` sets it up, `source` writes, `bucket` counts, `screen` shows.
"""
