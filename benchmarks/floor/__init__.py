"""The floor of the machine: three trainings in hand-written C, timed and judged as a third side."""
