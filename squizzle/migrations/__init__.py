"""Where migrations come from, what was applied where, and the one executor that applies and rolls back."""
