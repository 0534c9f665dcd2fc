/* The compressed network as bytes, from network to network_end. */
    .section .rodata
    .global network, network_end
network:
    .incbin NETWORK
network_end:
    .section .note.GNU-stack,"",%progbits
