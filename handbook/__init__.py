"""Pages of docs/ that come from the code, so that they say what it does; `make docs` writes them."""
