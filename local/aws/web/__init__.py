"""From a browser to the services: the front door in CloudFront's place, and who gets in."""
