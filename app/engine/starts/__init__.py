"""From event to run: order and batches, schedules, wishes, workflows that come and go."""
