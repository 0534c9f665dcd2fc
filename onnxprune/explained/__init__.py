"""Why a channel can or cannot be cut, told as data, text, DOT and SVG."""
