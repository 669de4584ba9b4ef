"""What people see: numbers as text, inputs as pictures or bars, answers and runs in a notebook."""
