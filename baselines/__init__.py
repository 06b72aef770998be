"""The reference problem: the CNN, its data, its trainer's recipes, its weights, its published figures."""
