"""The service: expressions by REST and WebSocket; never torch.

Its web page and its video jobs have modules of their own beside these.
"""
