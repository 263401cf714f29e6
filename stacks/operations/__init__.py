"""The Operations stack: dashboard, alarms, budget."""
