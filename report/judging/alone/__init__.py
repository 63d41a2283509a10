"""One operation alone: the layer, loss or update of any function, judged without a case."""
