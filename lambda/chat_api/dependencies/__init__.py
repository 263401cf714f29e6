"""What a request passes before its route: identity, headers, the audit trail and keeping it alive."""
