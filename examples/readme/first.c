#include <calyx.h>
#include <stdio.h>

int main(void) {
  const char body[] = "{\"owner_type\":\"human\",\"owner_id\":\"alice\"}";
  calyx_options options = CALYX_OPTIONS_INIT;
  calyx_engine* engine = NULL;
  calyx_text key = {NULL, 0};
  calyx_response* response = NULL;
  char headers[128];
  int status = 0;

  options.path = "market.db"; /* made when there is none */
  if (calyx_open(&options, &engine) == CALYX_OK &&
      calyx_issue_operator_key(engine, "first", &key) == CALYX_OK) {
    snprintf(headers, sizeof headers, "{\"X-API-Key\":\"%s\"}", key.data);
    if (calyx_request(engine, "POST", "/v1/wallets", headers, body, sizeof body - 1, &response) == CALYX_OK) {
      size_t size = 0;
      const char* answer = calyx_response_body(response, &size); /* as any HTTP server would say it */
      status = calyx_response_status(response);
      printf("%d %.*s\n", status, (int)size, answer);
    }
  }
  if (status == 0) fprintf(stderr, "%s\n", calyx_last_error());
  calyx_response_free(response);
  calyx_text_free(&key);
  calyx_close(engine);
  return status == 201 ? 0 : 1;
}
