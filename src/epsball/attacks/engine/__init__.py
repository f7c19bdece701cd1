"""What runs the model for an attack: passes, verdicts, records and the ledger."""
