/* Says how large the network inside is beside the file it was made from, and fails where it is not smaller. */
#include <stdio.h>

extern const unsigned char network[], network_end[];

int main(int argc, char **argv) {
  FILE *original = argc == 2 ? fopen(argv[1], "rb") : NULL;
  if (original == NULL || fseek(original, 0, SEEK_END) != 0) {
    fprintf(stderr, "usage: digits ORIGINAL.onnx\n");
    return 2;
  }
  const long before = ftell(original), after = (long)(network_end - network);
  fclose(original);
  printf("%ld bytes instead of %ld\n", after, before);
  return after < before ? 0 : 1;
}
