"""Getting an instance of Amazon RDS back: a new one beside, with every setting of the old one; then the names swap."""
