"""The demonstration harness: an online shop's support agent. A user's own harness looks like this.

What bakeoff needs from a harness package:

- a directory (`harness.source` in harness.yaml) that is a Python package; it is copied into the image, data
  files included, and imported by its own name;
- one function (`harness.entrypoint`), `build_agent(model, context)`, that takes a LangChain chat model
  and returns a Runnable from `{"messages": [...]}` to the same, such as `create_agent` makes. The model is
  whichever candidate is under test: don't name one, don't hold keys. Or no entrypoint at all: then
  harness.yaml gives `prompt`, `tools: [support_desk.tools.orders:get_order, ...]` and `middleware`;
- its requirements besides LangChain (`harness.requirements`). The container has no network when it runs;
- state that starts fresh: `context.workdir` is the working directory, HOME, and the only place to write to.
  Here the shop's database is made there at its first use;
- results that repeat: no wall clock, no random ids. Otherwise the candidates do not sit the same exam.

`agent` builds the agent, `prompt` tells it how to work, `tools` are what it can do, `shop` and `seed.sql` are
the world it does it in.
"""
