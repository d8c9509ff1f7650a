/* A function of this program as a task, in C: calyx splits a job into ranges of numbers, two threads of a
 * worker count the primes of each range, and the counts are added up. The exit status is 0 when 78,498 came
 * out, which is how many primes there are below a million. */
#include <calyx.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void need(int held, const char* what) {
  if (held) return;
  fprintf(stderr, "jobs_worker_c: %s (%s)\n", what, calyx_last_error());
  exit(1);
}

/* The number after `"name":`, which is enough for payloads of our own; a host has a JSON library. */
static long member(const char* json, const char* name) {
  const char* at = strstr(json, name);
  return at == NULL ? -1 : strtol(at + strlen(name) + 2, NULL, 10);
}

/* The task. Its payload is {"range": {"start": 50000, "end": 100000}}. */
static int count_primes(void* ctx, calyx_call* call, const calyx_input* input) {
  const long first = member(input->payload, "start"), end = member(input->payload, "end");
  long n, divisor, primes = 0;
  char reply[64];
  (void)ctx;
  if (first < 0 || end < first) return calyx_call_reply(call, "the payload is no range", 23) + 1;
  for (n = first < 2 ? 2 : first; n < end; ++n) {
    if (n % 1000 == 0 && calyx_call_cancelled(call) != CALYX_OK) return 1;
    for (divisor = 2; divisor * divisor <= n && n % divisor != 0; ++divisor) continue;
    if (divisor * divisor > n) ++primes;
  }
  snprintf(reply, sizeof reply, "%ld", primes);
  return calyx_call_reply(call, reply, strlen(reply)) != CALYX_OK;
}

static calyx_engine* engine;
static char headers[128];

/* One request, which must be answered with `expected`; the response is the caller's. */
static calyx_response* ask(const char* method, const char* target, const char* body, int expected) {
  calyx_response* response = NULL;
  const size_t size = body == NULL ? 0 : strlen(body);
  need(calyx_request(engine, method, target, headers, body, size, &response) == CALYX_OK, target);
  need(calyx_response_status(response) == expected, target);
  return response;
}

int main(void) {
  const char job[] =
      "{\"type\":\"map_reduce\",\"task\":\"count_primes\",\"reduce\":\"sum\","
      "\"split\":{\"range\":1000000,\"chunk_size\":50000}}";
  calyx_text key = {NULL, 0};
  calyx_worker* worker = NULL;
  calyx_response* response;
  const void* piece = NULL;
  const char* results;
  char id[31] = "", target[64];
  size_t size = 0;
  int good;

  need(calyx_open(NULL, &engine) == CALYX_OK, "calyx_open");
  need(calyx_issue_operator_key(engine, "worker.c", &key) == CALYX_OK, "calyx_issue_operator_key");
  snprintf(headers, sizeof headers, "{\"X-API-Key\":\"%s\"}", key.data);
  need(calyx_register(engine, CALYX_KIND_TASK, "{\"name\":\"count_primes\"}", count_primes, NULL, NULL) ==
           CALYX_OK,
       "calyx_register");
  need(calyx_worker_start(engine, "{\"threads\":2,\"tasks_max\":2}", &worker) == CALYX_OK,
       "calyx_worker_start");

  response = ask("POST", "/api/v1/jobs", job, 201);
  memcpy(id, strstr(calyx_response_body(response, &size), "job_id") + 9, sizeof id - 1);
  calyx_response_free(response);
  snprintf(target, sizeof target, "/api/v1/jobs/%s/stream", id);
  response = ask("GET", target, NULL, 200); /* it ends with the job */
  while (calyx_response_next(response, 60000, &piece, &size) == CALYX_OK && size != 0) continue;
  calyx_response_free(response);
  snprintf(target, sizeof target, "/api/v1/results/%s?limit=1", id);
  response = ask("GET", target, NULL, 200);
  results = calyx_response_body(response, &size);
  puts(results);
  good = strstr(results, "\"result\":78498") != NULL;
  calyx_response_free(response);
  calyx_worker_stop(worker);
  calyx_text_free(&key);
  calyx_close(engine);
  return good ? 0 : 1;
}
