"""``report.html``: a report as a page that needs nothing but a browser."""
