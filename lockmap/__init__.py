"""The probe that measures which locks PostgreSQL takes: `make lockmap`."""
