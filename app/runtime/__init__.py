"""Authors' functions: loaded, driven, called again; their context, and what their steps return.

loader.py driver.py live.py          authors' modules; who calls their functions; which of these stay in memory
attempt.py replay.py                 one attempt, and what the journal has of its run
context.py steps.py sources.py       `ctx`, `ctx.step`, `ctx.sources`: asks, made of what authors give
waiting.py outcomes.py failures.py   what steps return, and what goes wrong
jobs.py threads.py                   functions of steps; plain functions in threads
values.py losses.py                  results as JSON, and what would not come back of them
sending.py fragments.py              records that steps send; JSON that authors wrote themselves, read first
spans.py limits.py tracing.py        times; bounds; traces
watchdog.py places.py                who holds up everybody else; places in authors' files
"""
