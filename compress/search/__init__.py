"""From a budget to a file: which stages, in which order, with which options, as Optuna proposes them.

Trials are ordinary runs, measured on validation. Only this package names Optuna. Start at `space`, then `trial_run`.
"""
