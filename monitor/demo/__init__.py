"""The whole of Tocsin on one machine: broker, training, daemon, replay of real data, dashboard."""
