"""The core: (state, inputs, now) -> effects, without clock, chance or I/O. `apply` is the only entrance.

inputs.py effects.py          its language: what goes in, what must follow
mail.py                       what partitions ask of others, at the one that is asked
values/ tables/               what travels inside; what a partition knows
waits/ runs/ starts/ steps/   its rules, one noun each; each knows only those before it
journal/                      what a round changed, as records, and a state back from them
"""
