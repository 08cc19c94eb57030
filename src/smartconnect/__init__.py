"""Keeps data flowing between Kafka and other systems, exactly once. ARCHITECTURE.md says what each folder holds and may import; `app`
wires them together.
"""
