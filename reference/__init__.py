"""The mathematics by hand: no framework, no autodiff."""
