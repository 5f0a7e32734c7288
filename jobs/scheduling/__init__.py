"""When a job runs again: cron lines, and the user's own timers."""
