"""The web application: projects are folders, jobs are command lines, pages ask a JSON API. Never imports torch."""
