"""What people write into options: durations, filters, templates, names of secrets. Pure."""
