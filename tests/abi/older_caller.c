/* A caller from the time when calyx_options ended after busy_timeout_ms. It includes no header of today:
 * these are the declarations it was compiled with, and the library of today must still understand it. */
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

typedef int32_t calyx_status;
typedef struct calyx_engine calyx_engine;
typedef struct calyx_response calyx_response;
typedef struct calyx_options {
  size_t struct_size;
  const char* path;
  uint64_t busy_timeout_ms;
} calyx_options;
calyx_status calyx_open(const calyx_options* options, calyx_engine** out);
void calyx_close(calyx_engine* engine);
calyx_status calyx_request(calyx_engine* engine, const char* method, const char* target,
                           const char* headers_json, const void* body, size_t body_size,
                           calyx_response** out);
int calyx_response_status(const calyx_response* response);
void calyx_response_free(calyx_response* response);
const char* calyx_last_error(void);

/* What lies behind the caller's struct is none of the library's business. */
typedef struct neighbours {
  calyx_options options;
  unsigned char behind[128];
} neighbours;

int main(void) {
  neighbours memory;
  calyx_engine* engine = NULL;
  calyx_response* response = NULL;
  int status = 0;
  memset(&memory, 0xA5, sizeof memory);
  memory.options.struct_size = sizeof(calyx_options);
  memory.options.path = NULL;
  memory.options.busy_timeout_ms = 1000;
  if (calyx_open(&memory.options, &engine) != 0) {
    fprintf(stderr, "calyx_open: %s\n", calyx_last_error());
    return 1;
  }
  if (calyx_request(engine, "GET", "/v1/receipts/keys", NULL, NULL, 0, &response) != 0) {
    fprintf(stderr, "calyx_request: %s\n", calyx_last_error());
    return 1;
  }
  status = calyx_response_status(response);
  calyx_response_free(response);
  calyx_close(engine);
  if (status != 200) fprintf(stderr, "GET /v1/receipts/keys answered %d\n", status);
  return status == 200 ? 0 : 1;
}
