"""What each stage can make of a model, and rewrites that let it make more.

Reads models and mends copies of them; trains nothing and runs no stage. Start at `diagnose`.
"""
