"""Programs to results: HiGHS, CBC, Pyomo."""
