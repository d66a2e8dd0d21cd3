"""One page of the dashboard a file; each is a function that Streamlit runs from top to bottom."""
