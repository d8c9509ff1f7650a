/* A host in C99: every function of calyx.h once, as its comment says to call it. */
#include <calyx.h>
#include <stdio.h>
#include <string.h>

static int fault(const char* where) {
  fprintf(stderr, "%s: %s\n", where, calyx_last_error());
  return 1;
}

/* Asked on the worker's threads, too, and at once. */
static int64_t now_us(void* ctx) { return __atomic_add_fetch((int64_t*)ctx, 1000, __ATOMIC_RELAXED); }

/* A task: says how far it is, looks whether it is to stop, and gives back what it was given. */
static int mirror(void* ctx, calyx_call* call, const calyx_input* input) {
  (void)ctx;
  if (input->struct_size < sizeof *input || input->index != 0 || input->attempt != 1) return 1;
  if (strncmp(input->job_id, "job_", 4) != 0) return 1;
  if (calyx_call_progress(call, "{\"half\":true}", 13) != CALYX_OK) return 1;
  if (calyx_call_cancelled(call) != CALYX_OK) return 1;
  calyx_text kept = {NULL, 0}; /* a market in memory has no place for it */
  if (calyx_call_checkpoint(call, &kept) != CALYX_UNSUPPORTED || kept.data != NULL) return 1;
  if (calyx_call_keep_checkpoint(call, "half", 4) != CALYX_UNSUPPORTED) return 1;
  return calyx_call_reply(call, input->payload, input->payload_size) != CALYX_OK;
}
static void count(void* ctx) { ++*(int*)ctx; }

/* Whether the job of `headers`'s owner in `target` has ended well, in the end. */
static int completes(calyx_engine* engine, const char* target, const char* headers) {
  calyx_response* response = NULL;
  size_t size = 0;
  const void* piece = NULL;
  int ended = 0;
  calyx_status status;
  if (calyx_request(engine, "GET", target, headers, NULL, 0, &response) != CALYX_OK) return 0;
  do { /* a stream of events, the last of which tells how it ended */
    status = calyx_response_next(response, 60000, &piece, &size);
    if (status == CALYX_OK && size != 0 && strstr((const char*)piece, "\"completed\"") != NULL) ended = 1;
  } while (status == CALYX_OK && size != 0);
  calyx_response_free(response);
  return ended;
}

int main(void) {
  int64_t clock_us = INT64_C(1775077200000000);
  calyx_options options = CALYX_OPTIONS_INIT;
  calyx_engine* engine = NULL;
  calyx_response* response = NULL;
  calyx_worker* worker = NULL;
  calyx_text key = {NULL, 0};
  calyx_text jwks = {NULL, 0};
  char headers[256];
  const char* body = "{\"owner_type\":\"human\",\"owner_id\":\"alice\"}";
  const void* piece = NULL;
  size_t size = 0;
  size_t whole = 0;
  int verified = 1;
  int dropped = 0;
  const char* job = "{\"task\":\"mirror\",\"payload\":{\"x\":1}}";
  char target[128];

  if (calyx_abi_version() != CALYX_ABI_VERSION) return fault("calyx_abi_version");
  options.issuer = "a-c-host";
  options.ctx = &clock_us;
  options.now_us = now_us;
  if (calyx_open(&options, &engine) != CALYX_OK) return fault("calyx_open");
  if (calyx_issue_operator_key(engine, "first", &key) != CALYX_OK) return fault("calyx_issue_operator_key");
  if (key.size >= 128 || key.data[key.size] != '\0') return fault("the key's size");
  snprintf(headers, sizeof headers, "{\"X-API-Key\":\"%s\"}", key.data);

  if (calyx_request(engine, "POST", "/v1/wallets", headers, body, strlen(body), &response) != CALYX_OK)
    return fault("calyx_request");
  if (calyx_response_status(response) != 201) return fault("POST /v1/wallets");
  if (strchr(calyx_response_headers(response), '{') == NULL) return fault("calyx_response_headers");
  if (strstr((const char*)calyx_response_body(response, &whole), "\"wlt_") == NULL) return fault("the body");
  do {
    if (calyx_response_next(response, 100, &piece, &size) != CALYX_OK) return fault("calyx_response_next");
    if (size > whole) return fault("the pieces are more than the whole");
    whole -= size;
  } while (size != 0);
  if (whole != 0) return fault("the pieces are less than the whole");
  calyx_response_free(response);

  if (calyx_public_key(engine, &jwks) != CALYX_OK) return fault("calyx_public_key");
  if (calyx_verify_receipt("a.b.c", 5, jwks.data, jwks.size, &verified) != CALYX_OK || verified != 0)
    return fault("calyx_verify_receipt");

  if (calyx_register(engine, CALYX_KIND_TASK, "{\"name\":\"mirror\"}", mirror, &dropped, count) != CALYX_OK)
    return fault("calyx_register");
  if (calyx_worker_start(engine, "{\"threads\":1}", &worker) != CALYX_OK) return fault("calyx_worker_start");
  if (calyx_request(engine, "POST", "/api/v1/jobs", headers, job, strlen(job), &response) != CALYX_OK)
    return fault("calyx_request");
  if (calyx_response_status(response) != 201) return fault("POST /api/v1/jobs");
  snprintf(target, sizeof target, "/api/v1/jobs/%.30s/stream",
           strstr((const char*)calyx_response_body(response, &whole), "job_id") + 9);
  calyx_response_free(response);
  if (!completes(engine, target, headers)) return fault("the job's stream");
  calyx_worker_stop(worker);
  if (dropped != 0) return fault("calyx_register dropped too soon");

  calyx_text_free(&jwks);
  calyx_text_free(&key);
  calyx_close(engine);
  if (dropped != 1) return fault("calyx_register's drop");
  return clock_us == INT64_C(1775077200000000) ? fault("the clock was not asked") : 0;
}
