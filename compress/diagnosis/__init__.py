"""Find the layers of a model that each stage can treat, and rewrite the model so that it can treat more.

This package reads models and changes copies of them. It trains nothing and runs no stage. Start at `diagnose`.
"""
