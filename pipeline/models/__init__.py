"""One file per family: `build(input_spec, output_spec, **settings) -> keras.Model`."""
