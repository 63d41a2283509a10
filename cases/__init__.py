"""What to run: one YAML file a scenario, and the schema that they follow."""
