"""The measured maps, one file for each major version; `make lockmap` writes them."""
