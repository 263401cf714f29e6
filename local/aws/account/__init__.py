"""What AWS allows an account: its profile, its quotas, and the Service Quotas API."""
