"""When it matters and who hears: rules, the alert's life and routing. Values in, values out."""
