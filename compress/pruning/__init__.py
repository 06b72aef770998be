"""Choice of the weights and filters to remove, as arithmetic, and a model rebuilt without them.

Nothing here trains or uses tfmot. Start at `magnitude` for weights, at `dependency_graph` for filters.
"""
