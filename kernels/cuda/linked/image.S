// The image of simulate.cu as bytes of the module.
.section .note.GNU-stack,"",%progbits
.section .rodata
.balign 16
.globl calyx_linked_image
.hidden calyx_linked_image
calyx_linked_image:
.incbin CALYX_LINKED_IMAGE
.globl calyx_linked_image_end
.hidden calyx_linked_image_end
calyx_linked_image_end:
.byte 0
