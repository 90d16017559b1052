"""The face detector's task: what a teacher labels, composed scenes, the network, its losses and its figures."""
