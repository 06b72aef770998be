"""Search for the best file within a budget: Optuna proposes stages, their order and their options.

Trials are ordinary runs, measured on validation images. No other package uses Optuna. Start at `space`, then
`trial_run`.
"""
