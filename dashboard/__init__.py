"""The live screens of Tocsin: a fleet of assets, and one asset in detail, from the topics alone."""
