"""How `control` looks on the wire: the documented REST API. `app` puts it together. A request passes `frame` (its id, what nobody
expected) and `admission` (who asks, and for what), is read by `bodies` and `schemas*`, handled in `endpoints`, and answered through `wire*`
and `answers`.
"""
