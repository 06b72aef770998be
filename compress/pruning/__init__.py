"""Which weights and filters go, as arithmetic, and a model rebuilt without them.

Trains nothing and knows no tfmot. Start at `magnitude` for weights, at `dependency_graph` for filters.
"""
