"""What somebody sees who has not logged in, or who has no role."""

import streamlit as st

from dashboard.access import User


def login_page(user: User | None) -> None:
    """Offer the login, or say that a role is missing and offer to leave."""
    if user is None:
        st.subheader("Tocsin shows a plant to people who work there.")
        st.button("Log in", on_click=st.login, type="primary")
        return
    st.subheader("You are logged in, and have no role here.")
    st.text(f"{user.name}: ask for one of the roles viewer, operator or engineer.")
    st.button("Log out", on_click=st.logout)
