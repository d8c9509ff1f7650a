/* A market in memory, opened through the installed C header. */
#include <calyx.h>
#include <stdio.h>

int main(void) {
  calyx_engine* engine = NULL;
  if (calyx_open(NULL, &engine) != CALYX_OK) return 1;
  calyx_close(engine);
  printf("calyx %s\n", calyx_version());
  return 0;
}
