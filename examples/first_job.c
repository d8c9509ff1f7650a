/* A paid job, end to end, through calyx.h alone: what an author of a binding, or of a host in another
 * language, writes. Every step is one request of the wire contract, answered in this process: no server, no
 * socket.
 *
 *   first_job_c [FOLDER]
 *
 * The result that is sold here is the verdict on a packing, by calyx's recipe of that name: the same bytes on
 * every machine. What the job leaves in FOLDER (first-job-files without one) others can verify: see
 * verify_receipt.sh and verify_receipt.py.
 *
 * The exit status is 0 only when every step held. */
#include <calyx.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/* packing_candidate.json: x, y and direction of fifteen half disks. */
#define CANDIDATE                    \
  "-1.947976, -0.216018, -1.952559," \
  "-1.343538, -1.408118, -1.806817," \
  "-0.511240, -1.608219, 1.334840,"  \
  "0.107197, -2.785728, 1.604215,"   \
  "1.468267, -1.318451, -1.961364,"  \
  "1.923808, -0.424237, -1.137674,"  \
  "0.590829, 0.061564, -0.987283,"   \
  "1.863280, 0.649851, -0.343180,"   \
  "1.132094, 1.576399, 0.130943,"    \
  "0.195112, 0.960784, 3.050385,"    \
  "0.198857, 1.001474, -0.091229,"   \
  "0.074870, 1.956307, 1.760846,"    \
  "-0.898408, 1.672321, -3.021429,"  \
  "-0.744498, 0.378747, -2.147637,"  \
  "-1.802388, 0.803442, -3.023172"

static calyx_engine* engine;

static void need(int held, const char* what) {
  if (held) return;
  fprintf(stderr, "first_job_c: %s (%s)\n", what, calyx_last_error());
  exit(1);
}

static void say(const char* step, const char* format, ...) {
  va_list words;
  va_start(words, format);
  printf("%-16s ", step);
  vprintf(format, words);
  putchar('\n');
  va_end(words);
}

/* Copies what stands at `name` in `json`, a string without its quotes or a number, to `out`. It takes the
 * first `name` there is, which is enough for these answers; a host has a JSON library. */
static void member(const char* json, const char* name, char* out, size_t size) {
  char quoted[64];
  const char* at;
  size_t length;
  snprintf(quoted, sizeof quoted, "\"%s\":", name);
  at = strstr(json, quoted);
  need(at != NULL, name);
  at += strlen(quoted);
  at += strspn(at, " \"");
  length = strcspn(at, "\",}");
  need(length < size, name);
  memcpy(out, at, length);
  out[length] = '\0';
}

/* One request with the key of whoever asks; any other answer than `expected` ends the job. */
static calyx_response* ask(const char* api_key, const char* method, const char* target, int expected,
                           const char* body) {
  char headers[256];
  calyx_response* response = NULL;
  snprintf(headers, sizeof headers, "{\"X-API-Key\":\"%s\",\"Content-Type\":\"application/json\"}", api_key);
  need(calyx_request(engine, method, target, headers, body, body == NULL ? 0 : strlen(body), &response) ==
           CALYX_OK,
       target);
  if (calyx_response_status(response) != expected) {
    size_t size = 0;
    const char* said = calyx_response_body(response, &size);
    fprintf(stderr, "first_job_c: %s %s: %d %s\n", method, target, calyx_response_status(response), said);
    exit(1);
  }
  return response;
}

static const char* body_of(const calyx_response* response) {
  size_t size = 0;
  return calyx_response_body(response, &size); /* ends in a NUL */
}

typedef struct wallet {
  char id[64];
  char api_key[96];
} wallet;

static wallet create_wallet(const char* api_key, const char* body) {
  wallet out;
  calyx_response* response = ask(api_key, "POST", "/v1/wallets", 201, body);
  member(body_of(response), "id", out.id, sizeof out.id);
  member(body_of(response), "api_key", out.api_key, sizeof out.api_key);
  calyx_response_free(response);
  return out;
}

/* POST /v1/wallets/{id}/{what}, and of its answer the member `name`. */
static void post(const wallet* as, const char* id, const char* what, int expected, const char* body,
                 const char* name, char* out, size_t size) {
  char target[128];
  calyx_response* response;
  snprintf(target, sizeof target, "/v1/wallets/%s/%s", id, what);
  response = ask(as->api_key, "POST", target, expected, body);
  member(body_of(response), name, out, size);
  calyx_response_free(response);
}

static void balance(const wallet* as, char* out, size_t size) {
  char target[128];
  calyx_response* response;
  snprintf(target, sizeof target, "/v1/wallets/%s", as->id);
  response = ask(as->api_key, "GET", target, 200, NULL);
  member(body_of(response), "balance", out, size);
  calyx_response_free(response);
}

/* What the host does: a job of the market's own, which costs nobody anything, on a thread of this process.
 * Gives the hash of its result, and the radius in it. */
static void compute(const wallet* as, char* hash, size_t hash_size, char* score, size_t score_size) {
  calyx_worker* worker = NULL;
  calyx_response* response;
  char job[64];
  char target[128];
  const void* piece;
  size_t size = 1;
  need(calyx_worker_start(engine, NULL, &worker) == CALYX_OK, "no worker");
  response = ask(as->api_key, "POST", "/api/v1/recipes/packing/jobs", 201,
                 "{\"payload\":{\"operation\":\"eval\",\"candidate\":[" CANDIDATE "]}}");
  member(body_of(response), "job_id", job, sizeof job);
  calyx_response_free(response);
  snprintf(target, sizeof target, "/api/v1/jobs/%s/stream", job); /* which ends with the job */
  response = ask(as->api_key, "GET", target, 200, NULL);
  while (size != 0) {
    const calyx_status next = calyx_response_next(response, 1000, &piece, &size);
    need(next == CALYX_OK || next == CALYX_UNAVAILABLE, "the job's stream");
    if (next == CALYX_UNAVAILABLE) size = 1; /* nothing yet */
  }
  calyx_response_free(response);
  calyx_worker_stop(worker);
  snprintf(target, sizeof target, "/api/v1/jobs/%s", job);
  response = ask(as->api_key, "GET", target, 200, NULL);
  member(body_of(response), "output_hash", hash, hash_size);
  calyx_response_free(response);
  snprintf(target, sizeof target, "/api/v1/results/%s", job);
  response = ask(as->api_key, "GET", target, 200, NULL);
  member(body_of(response), "valid", job, sizeof job);
  need(strcmp(job, "true") == 0, "the packing is not valid");
  member(body_of(response), "score", score, score_size);
  calyx_response_free(response);
}

static void write_file(const char* folder, const char* name, const char* text) {
  char path[1024];
  FILE* file;
  snprintf(path, sizeof path, "%s/%s", folder, name);
  file = fopen(path, "wb");
  need(file != NULL && fputs(text, file) >= 0 && fclose(file) == 0, path);
}

int main(int count, char** words) {
  const char* folder = count > 1 ? words[1] : "first-job-files";
  char path[1024];
  char body[512];
  char first[64];
  char second[64];
  char third[64];
  char receipt_id[64];
  char output_hash[96];
  char target[128];
  char jws[4096];
  char* digit;
  calyx_options options = CALYX_OPTIONS_INIT;
  calyx_text text = {NULL, 0};
  calyx_response* receipt;
  calyx_response* audit;
  wallet market; /* the operator: no wallet, but a key */
  wallet alice;
  wallet agent;
  wallet host;
  int verified = 0;

  need(calyx_abi_version() == CALYX_ABI_VERSION, "the library loaded is not for this header");
  need(mkdir(folder, 0777) == 0 || errno == EEXIST, folder);
  snprintf(path, sizeof path, "%s/market.db", folder);
  options.path = path;
  need(calyx_open(&options, &engine) == CALYX_OK, path);
  need(calyx_issue_operator_key(engine, "first job", &text) == CALYX_OK, "no operator key");
  snprintf(market.api_key, sizeof market.api_key, "%s", text.data);
  calyx_text_free(&text);

  alice = create_wallet(market.api_key, "{\"owner_type\":\"human\",\"owner_id\":\"alice\"}");
  host = create_wallet(market.api_key, "{\"owner_type\":\"human\",\"owner_id\":\"gpu-host-7\"}");
  say("Create a wallet", "alice, a human: %s", alice.id);

  post(&market, alice.id, "topup", 200, "{\"amount\":2000,\"reference\":\"invoice-1\"}", "new_balance", first,
       sizeof first);
  say("Top up", "2000.00 FLOPS, which is USD 20; alice has %s", first);

  snprintf(body, sizeof body,
           "{\"owner_type\":\"agent\",\"owner_id\":\"research-agent-v1\",\"parent_wallet_id\":\"%s\","
           "\"spend_cap_per_job\":5.00,\"approval_threshold\":20.00,"
           "\"allowed_gpu_types\":[\"CPU\",\"RTX 4090\",\"A100\"]}",
           alice.id);
  agent = create_wallet(alice.api_key, body);
  snprintf(body, sizeof body, "{\"to_wallet_id\":\"%s\",\"amount\":12.40}", agent.id);
  post(&alice, alice.id, "transfer", 200, body, "amount", first, sizeof first);
  say("Fund an agent", "research-agent-v1 gets %s and may lock 5.0 a job: %s", first, agent.id);

  post(&agent, agent.id, "spend", 403, "{\"job_id\":\"job-441\",\"amount\":6.00,\"gpu_type\":\"CPU\"}",
       "code", first, sizeof first);
  say("Stay in bounds", "6.0 is refused: %s", first);

  snprintf(body, sizeof body,
           "{\"job_id\":\"job-441\",\"amount\":4.00,\"gpu_type\":\"CPU\",\"host_wallet_id\":\"%s\"}",
           host.id);
  post(&agent, agent.id, "spend", 200, body, "new_balance", first, sizeof first);
  say("Lock escrow", "4.0 for job-441; the agent has %s left", first);
  compute(&market, output_hash, sizeof output_hash, first, sizeof first);
  say("The job runs", "packing.eval: 15 semicircles fit a circle of %s", first);
  say("", "%s", output_hash);

  snprintf(body, sizeof body,
           "{\"job_id\":\"job-441\",\"gross_amount\":3.80,\"output_hash\":\"%s\",\"gpu_model\":\"CPU\","
           "\"duration_seconds\":1}",
           output_hash);
  post(&host, host.id, "earn", 200, body, "receipt_id", receipt_id, sizeof receipt_id);
  balance(&host, first, sizeof first);
  say("Settle", "3.8: the host gets %s, the platform 0.57, and 0.2 goes back to the agent", first);

  snprintf(target, sizeof target, "/v1/receipts/%s", receipt_id);
  receipt = ask(agent.api_key, "GET", target, 200, NULL);
  member(body_of(receipt), "jws", jws, sizeof jws);
  need(calyx_public_key(engine, &text) == CALYX_OK, "no public keys");
  write_file(folder, "receipt.jws", jws);
  write_file(folder, "receipt.json", body_of(receipt));
  write_file(folder, "keys.json", text.data);
  need(calyx_verify_receipt(jws, strlen(jws), text.data, text.size, &verified) == CALYX_OK && verified == 1,
       "the receipt is not valid");
  say("Verify", "calyx says valid: %s", receipt_id);

  /* The document around the JWS, with one digit of the amount changed. */
  {
    const size_t size = strlen(body_of(receipt));
    char* copy = malloc(size + 1);
    need(copy != NULL, "no memory");
    memcpy(copy, body_of(receipt), size + 1);
    digit = strstr(copy, "\"gross\":\"");
    need(digit != NULL, "the receipt has no amount");
    digit[strlen("\"gross\":\"")] = '9';
    write_file(folder, "tampered.json", copy);
    need(calyx_verify_receipt(copy, size, text.data, text.size, &verified) == CALYX_OK && verified == 0,
         "a tampered receipt was taken for good");
    say("Tamper", "a copy that says 9.80 is refused: %s", calyx_last_error());
    free(copy);
  }
  calyx_response_free(receipt);
  calyx_text_free(&text);

  audit = ask(market.api_key, "GET", "/v1/audit", 200, NULL);
  member(body_of(audit), "ok", first, sizeof first);
  need(strcmp(first, "true") == 0, body_of(audit));
  member(body_of(audit), "events", first, sizeof first);
  member(body_of(audit), "entries", second, sizeof second);
  say("Audit", "passed: %s events, %s entries, 1 receipt", first, second);
  calyx_response_free(audit);

  balance(&alice, first, sizeof first);
  balance(&agent, second, sizeof second);
  balance(&host, third, sizeof third);
  need(strcmp(first, "1987.6") == 0 && strcmp(second, "8.6") == 0 && strcmp(third, "3.23") == 0,
       "a balance is wrong");
  say("Balances", "alice %s, the agent %s, the host %s", first, second, third);
  calyx_close(engine);
  return 0;
}
