"""What the service tells its operator: log lines with secrets taken out (`logs`, `redaction`), and meters (`names`, `meters`) that
travel up the pipe and are rendered for Prometheus (`prometheus`) in the one process that answers `/metrics`.
"""
