"""Where samples come from: a source in, one column per graph input out; a column is read where it is needed."""
