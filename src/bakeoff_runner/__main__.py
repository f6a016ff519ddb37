"""`python -m bakeoff_runner`: the supervisor."""

from bakeoff_runner.supervisor import main

main()
