/* One input of the network, and what onnxruntime makes of it: the bytes of two files. */
#ifndef INPUTS
#define INPUTS "inputs.npy"
#define OUTPUTS "outputs.npy"
#endif
    .section .rodata
    .global sample_inputs, sample_inputs_end, sample_outputs, sample_outputs_end
sample_inputs:
    .incbin INPUTS
sample_inputs_end:
sample_outputs:
    .incbin OUTPUTS
sample_outputs_end:
    .section .note.GNU-stack,"",%progbits
