"""Models from files, whoever wrote them."""
