"""What waits for a person's yes, as it is shown, asked and answered outside of Prefect's pages."""
