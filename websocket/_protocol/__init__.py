"""The protocol without I/O: bytes go in, messages, events and bytes come out.

Nothing in here imports a socket, a clock, a thread or a logger.
"""
