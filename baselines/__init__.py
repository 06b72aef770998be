"""The reference problem: the CNN, its data, its training recipes, its weights and its published figures."""
