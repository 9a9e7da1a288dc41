"""The Evaluator: gates judged by TFMA on a table of images, and refusals that explain
themselves."""
