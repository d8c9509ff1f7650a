/* calyx: an engine for GPU-compute markets, inside the caller's process. The whole C face.
 *
 * Start here: calyx_open, calyx_request, calyx_response_free, calyx_close; and calyx_register with
 * calyx_worker_start, where functions of the host do jobs' tasks.
 *
 * Returns   a calyx_status; on anything but CALYX_OK the out-parameters are zeroed. A refusal is an
 *           answer: calyx_request gives CALYX_OK and the response says 403 and why.
 * Pointers  are not NULL unless the comment says "or NULL", and are read only during the call. A NULL where
 *           none may be is CALYX_INVALID; so is a count that goes with a NULL.
 * Text      is UTF-8: with its size in bytes, or without a size and then ending in a NUL. Text that calyx
 *           returns also ends in a NUL.
 * Owns      what comes out through `out` is the caller's, and its comment names the function that
 *           gives it back; giving back NULL or a zeroed value does nothing.
 * Handles   are looked up, never dereferenced. One that was given back, or is of another kind, or was made up
 *           is CALYX_INVALID, or 0 or NULL where no status is returned.
 * Threads   any thread may use an engine at any time; calls run concurrently and share commits. No thread is
 *           started but a worker's and those that signing_threads asks for.
 * Forks     in a child process what its parent opened is CALYX_UNAVAILABLE; the child opens its own.
 * Errors    calyx_last_error() describes the last call made on the same thread. */
#ifndef CALYX_H
#define CALYX_H

#include <stddef.h>
#include <stdint.h>

#if defined(__GNUC__)
#define CALYX_API __attribute__((visibility("default")))
#define CALYX_CHECKED __attribute__((warn_unused_result))
#else
#define CALYX_API
#define CALYX_CHECKED
#endif

#ifdef __cplusplus
#define CALYX_NOEXCEPT noexcept
extern "C" {
#else
#define CALYX_NOEXCEPT
#endif

#define CALYX_ABI_VERSION 1

typedef int32_t calyx_status; /* fixed width; new values may appear, none moves */
#define CALYX_OK 0
#define CALYX_INVALID 1     /* mend the request */
#define CALYX_NOT_FOUND 2   /* ask about something else */
#define CALYX_CONFLICT 3    /* read again and decide again */
#define CALYX_REFUSED 4     /* change the terms: funds or policy said no */
#define CALYX_UNAVAILABLE 5 /* make the same call later; nothing was written */
#define CALYX_STOPPED 6     /* the caller's own callback asked */
#define CALYX_UNSUPPORTED 7 /* use another build or version */
#define CALYX_CORRUPT 8     /* stop, keep the file, call a person */
#define CALYX_INTERNAL 9    /* report a defect in calyx */
#define CALYX_UNKNOWN 10    /* repeat the same call with the same key: it may stand */

typedef struct calyx_engine calyx_engine;
typedef struct calyx_response calyx_response;
typedef struct calyx_worker calyx_worker;

/* Owns: `data`, given back with calyx_text_free. `size` does not count the NUL. */
typedef struct calyx_text {
  char* data;
  size_t size;
} calyx_text;

#define CALYX_READ_ONLY 1u

/* How to open a market. Start from CALYX_OPTIONS_INIT and change what differs: it sets struct_size, by which
 * calyx knows which fields a caller was compiled with. New fields go last.
 *
 * The callbacks are made from any thread that calls calyx, and from workers' and signing threads, more than
 * one at a time, as long as the engine is open, a call on it runs or a worker of it stands; they give 0 for
 * done and anything else for failed (now_us gives the time). They must not throw or jump out. Inside one,
 * every call of calyx is CALYX_INVALID (or 0 or NULL), on whichever engine, but for those that give back:
 * calyx_close, calyx_response_free, calyx_worker_stop (which says what it then does), calyx_text_free. An
 * engine that is closed there ends with the call that made the callback. calyx_last_error, calyx_version and
 * calyx_abi_version may be asked too. */
typedef struct calyx_options {
  size_t struct_size; /* 8 to 4096, and no cut inside a field */
  const char*
      path; /* or NULL: in memory, gone with the engine; else 1 to 4000 bytes, and 500 once resolved */
  uint64_t busy_timeout_ms;     /* how long to wait for other processes that hold the market */
  uint64_t flags;               /* CALYX_READ_ONLY; an unknown bit is CALYX_INVALID */
  const char* issuer;           /* or NULL: "calyx". 1 to 128 bytes, fixed when the market is created */
  void* ctx;                    /* or NULL; handed to the callbacks */
  int64_t (*now_us)(void* ctx); /* or NULL: the system's clock; us since 1970 UTC */
  int (*random)(void* ctx, void* out, size_t size); /* or NULL: the system's generator */
  /* or NULL: a key of calyx's own beside the market. Signs `message` (Ed25519) with the key `kid` within 5
   * seconds. Once, inside calyx_open, it is called with `kid` "", `message` NULL and `size` 0: then it writes
   * the 32 bytes of the public key to out[0] to out[31]. */
  int (*sign)(void* ctx, const char* kid, const void* message, size_t size, unsigned char out[64]);
  uint64_t signing_threads; /* 0 to 64 threads of the engine's own, which sign receipts beside the callers' */
} calyx_options;
#define CALYX_OPTIONS_INIT \
  { sizeof(calyx_options), NULL, 5000u, 0u, NULL, NULL, NULL, NULL, NULL, 0u }

/* Opens a market, and creates it when the file is absent. `options` or NULL: in memory.
 * Owns: *out, given back with calyx_close. */
CALYX_API CALYX_CHECKED calyx_status calyx_open(const calyx_options* options,
                                                calyx_engine** out) CALYX_NOEXCEPT;

/* Gives an engine back. Waits for no one: a call under way on another thread ends as if nothing had happened,
 * and the last one to end closes the file. Bodies that are streamed end, also for who waits on them. Workers
 * are asked to stop, and hold the file until they are given back. Responses and texts outlive their engine.
 */
CALYX_API void calyx_close(calyx_engine* engine) CALYX_NOEXCEPT;

/* Answers one request of the wire contract. `method` (at most 32 bytes) and `target` (at most 8192; path and
 * query, percent-encoded) are as in HTTP, `headers_json` (at most 65536) is a JSON object of strings or NULL,
 * `body` is NULL only when `body_size` is 0. A text that is longer is CALYX_INVALID; a body that is longer
 * than its route takes is not read, and answered with 413. Most take 1048576 bytes; jobs, their estimates and
 * workers' reports 67108864; a part of an upload 67108864, and its end 4194304; a project's tarball
 * 536870912; an artifact 2147483648. No request counts as local here: a host that lets one read GET /metrics
 * sends an operator's key of its own with it. Owns: *out, given back with calyx_response_free. */
CALYX_API CALYX_CHECKED calyx_status calyx_request(calyx_engine* engine, const char* method,
                                                   const char* target, const char* headers_json,
                                                   const void* body, size_t body_size,
                                                   calyx_response** out) CALYX_NOEXCEPT;

/* The status as in HTTP; 0 for a bad handle. */
CALYX_API int calyx_response_status(const calyx_response* response) CALYX_NOEXCEPT;

/* The headers, a JSON object of strings. Lives as long as the response; NULL for a bad handle. */
CALYX_API const char* calyx_response_headers(const calyx_response* response) CALYX_NOEXCEPT;

/* The whole body, which ends in a NUL that *size does not count. Lives as long as the response; NULL, and
 * *size 0, for a bad handle; an empty body is not NULL. That of a body that is streamed is empty: a response
 * whose content-type is text/event-stream is pulled by calyx_response_next. */
CALYX_API const void* calyx_response_body(const calyx_response* response, size_t* size) CALYX_NOEXCEPT;

/* The next piece of the body, waiting at most `timeout_ms`; it lives until the next call of this function on
 * the response, and ends in a NUL that *size does not count. A body that is not streamed is one piece.
 * CALYX_OK with *size 0 is the end; CALYX_UNAVAILABLE is "nothing yet", and calyx_last_error is empty. A
 * streamed body also ends when its API key is revoked and when its engine is closed. For one thread at a
 * time: another is CALYX_INVALID meanwhile. */
CALYX_API CALYX_CHECKED calyx_status calyx_response_next(calyx_response* response, uint32_t timeout_ms,
                                                         const void** piece, size_t* size) CALYX_NOEXCEPT;

CALYX_API void calyx_response_free(calyx_response* response) CALYX_NOEXCEPT;

/* Mints an operator's API key for this market: who holds it may do everything. Shown this once. `label` is at
 * most 64 bytes without control characters. With that key GET /v1/keys lists all such keys with their ids,
 * and DELETE /v1/keys/{id} revokes one. Owns: *out, given back with calyx_text_free, which also wipes it. */
CALYX_API CALYX_CHECKED calyx_status calyx_issue_operator_key(calyx_engine* engine, const char* label,
                                                              calyx_text* out) CALYX_NOEXCEPT;

/* The keys that receipts are verified with, old and new: a JSON Web Key Set (RFC 7517).
 * Owns: *out, given back with calyx_text_free. */
CALYX_API CALYX_CHECKED calyx_status calyx_public_key(calyx_engine* engine, calyx_text* out) CALYX_NOEXCEPT;

/* Derives of an API key of a wallet, or of a derived one, a key that may do less. It is made offline, for
 * whoever holds one: no engine is asked. `limits_json` (at most 65536 bytes) is a JSON object, whose members
 * may all be left out, or NULL; amounts are FLOPS, as decimal strings or integers:
 *   allowed_gpu_types   ["A100", ...]
 *   allowed_payees      ids of wallets; a job then names its own allowed_payees, none of them another's
 *   allowed_recipes     then it runs jobs of these alone
 *   amount_range        {"max"}: most that one job may lock
 *   approval_threshold  above it whoever decides for the wallet's own spends approves
 *   budget              {"max"}: all that it may ever spend, less what came back
 *   execution_date      {"not_before", "not_after"}, as "2027-01-15T12:00:00Z"
 *   spend_cap_per_hour  most in a rolling hour, less what came back
 * A member that is wrong or that nobody knows is CALYX_INVALID, and calyx_last_error says where; an
 * operator's key, or none, is CALYX_REFUSED. calyx/keys.hpp says what a derived key does. `api_key` has at
 * most 8192 bytes. Owns: *out, given back with calyx_text_free, which also wipes it. */
CALYX_API CALYX_CHECKED calyx_status calyx_derive_key(const char* api_key, const char* limits_json,
                                                      calyx_text* out) CALYX_NOEXCEPT;

/* Judges a receipt, the JWS text or the JSON document that carries it, against a key set; each at most
 * 1048576 bytes. Needs no engine. *verified is 1 or 0; CALYX_OK with 0 is a receipt that does not hold, and
 * calyx_last_error says why. Keys that cannot be read, or none that could sign, judge nothing: CALYX_INVALID.
 */
CALYX_API CALYX_CHECKED calyx_status calyx_verify_receipt(const char* receipt, size_t size,
                                                          const char* jwks_json, size_t jwks_size,
                                                          int* verified) CALYX_NOEXCEPT;

/* What a host's function is for. */
#define CALYX_KIND_TASK 1u        /* jobs with "task": its name */
#define CALYX_KIND_RECIPE 2u      /* jobs with "recipe": its name, which GET /api/v1/recipes lists */
#define CALYX_KIND_SETTLEMENT 3u  /* who settles payments; there is one, and the last one counts */
#define CALYX_KIND_TRANSPORT 4u   /* who sends webhooks; there is one, and the last one counts */
#define CALYX_KIND_CONTAINER 5u   /* CALYX_UNSUPPORTED in this version */
#define CALYX_KIND_DATA_SOURCE 6u /* who finds data sources; there is one, and the last one counts */

/* One call of a host's function, for the functions calyx_call_...; a handle that stands until the function
 * has returned. The function may hand it to threads, whose calls its end waits for; later ones are
 * CALYX_INVALID. */
typedef struct calyx_call calyx_call;

/* What is to be done. Lives until the function has returned. calyx sets struct_size, by which a function
 * knows which fields there are. New fields go last. */
typedef struct calyx_input {
  size_t struct_size;
  const char* payload; /* JSON; ends in a NUL that payload_size does not count */
  size_t payload_size;
  const char* job_id; /* empty unless it is a task's, and what follows 0 */
  uint64_t index;     /* of the task in its job, from 0 */
  int64_t attempt;    /* from 1 */
} calyx_input;

/* Does one task; what one of another kind does is said below. Gives 0 when it is done: what it replied is the
 * result, JSON, and null without a reply. Gives anything else when it failed: what it replied is the error.
 * It is called on the threads of all workers at once and must not jump out; it may call calyx. Of an engine
 * that was closed meanwhile calls are CALYX_INVALID, and calyx_worker_stop waits for nobody there. */
typedef int (*calyx_function)(void* ctx, calyx_call* call, const calyx_input* input);

/* Called once, on any thread that calls calyx or is a worker's, when `ctx` is needed no more. What holds
 * inside the callbacks of calyx_options holds here. */
typedef void (*calyx_drop)(void* ctx);

/* Makes `function` what jobs of a name do in this engine's workers, or who settles its payments, sends its
 * webhooks or finds its workers' data sources; a name that is taken is replaced, and calls under way end as
 * they began. `options_json` (at most 65536 bytes) is a JSON object: of a task {"name"}; of data sources {};
 * of a settlement {"name", "judges_contracts"} and of a transport {"allow_http", "allow_private", "ports":
 * [443]}, all of which may be left out; of a recipe {"name", "summary", "payload_schema", "operations":
 * [...], "artifact_inputs": [...], "class"}, of which all but the name may be left out. The schema is JSON
 * Schema 2020-12 in the subset that calyx/core/schema.hpp lists: payloads are judged by it before money is
 * held. The class is what is promised of a payload's result: "exact" (the same bytes everywhere), "bounded"
 * or, if left out, "open". A member that is wrong or that nobody knows is CALYX_INVALID, and calyx_last_error
 * says where. `ctx` or NULL. Owns: ctx is calyx's from CALYX_OK on: `drop`, or NULL, gets it back when the
 * name was replaced or the engine has gone, and no call is left. On anything but CALYX_OK it stays the
 * caller's, and `drop` is not called. */
CALYX_API CALYX_CHECKED calyx_status calyx_register(calyx_engine* engine, uint32_t kind,
                                                    const char* options_json, calyx_function function,
                                                    void* ctx, calyx_drop drop) CALYX_NOEXCEPT;

/* A function of CALYX_KIND_SETTLEMENT moves the money of payments that calyx has judged: it stands for a
 * facilitator, a node of a chain or a card network. Its payload is
 *   {"call": "verify", "payment": {...}}          whether it would settle; moves nothing
 *   {"call": "settle", "key", "payment": {...}}   moves the money, once under one key
 *   {"call": "status", "key"}                     what became of "settle" under the key
 * with the payment's "protocol", "network" (CAIP-2), "asset", "payer", "pay_to", "nonce", "amount" (atomic
 * units of the token, decimal), "credit" (FLOPS, decimal), "valid_before" (RFC 3339), "payload" (as it was
 * received) and "on_chain" (the transaction by which the payer says that it was paid, or null). Numbers are
 * texts. It gives 0 and replies
 *   {"outcome": "settled", "transaction": "0x..."}  the money has moved: 1 to 256 bytes without controls say
 *                                                   where; "credit" beside it, if it came to another amount
 *   {"outcome": "refused", "reason": "..."}         never, under this key. Not of what may still settle
 *   {"outcome": "pending"}                          it may still settle
 *   {"outcome": "valid"}                            of "verify" alone: it would settle
 *   {"outcome": "unknown"}                          of "status" alone: nothing was begun under the key
 *   {"outcome": "unavailable"}                      ask again
 * Signatures are judged before it is asked, but those of contracts (ERC-1271, ERC-6492): payments with one
 * are refused, unless the option "judges_contracts" is true, and then "verify" judges the one in "payload",
 * which is whatever the payer's own key did not make.
 * What gives anything but 0, does not reply, or throws, says "unavailable", as does "settled" with a credit
 * of 0 or a transaction that is longer. calyx_call_reply refuses a reply that is none of these as
 * CALYX_INVALID, the one before stands, and calyx_last_error says where it is wrong; the other functions of a
 * call are CALYX_UNSUPPORTED there. It is called on the thread whose calyx_request presents the payment,
 * which asks again for one that is pending, outside every lock; it may take its time and call calyx. The same
 * call may come twice, on two threads or from two processes at once. */

/* A function of CALYX_KIND_TRANSPORT sends what tells jobs' ends to their "callback_url", of which there may
 * be none before it is registered: https alone unless "allow_http", to those ports, and to public addresses
 * unless "allow_private". It is called on the thread of whoever asks for POST /v1/webhooks/deliver with an
 * operator's key, which the host does every few seconds: no thread of calyx sends. Its payload is
 *   {"call": "resolve", "host"}      all IP addresses of a name, to be judged
 *   {"call": "send", "url", "address", "host", "port", "https", "target", "headers": {...}, "body",
 *    "timeout_s"}                    a POST of the body to the address, which was judged: connect there, and
 *                                    never resolve the name again. The host is the Host header and the name
 *                                    for TLS, the target path and query. Follow no redirection, use no proxy
 * It gives 0 and replies
 *   {"addresses": ["93.184.216.34", ...]}
 *   {"status": 200}                  as in HTTP; "retry_after_s" beside it, where the header Retry-After came
 * What gives anything but 0, does not reply, or throws, has not answered: it is sent again later.
 * calyx_call_reply refuses a reply that is none of these as CALYX_INVALID; the other functions of a call are
 * CALYX_UNSUPPORTED there. */

/* A function of CALYX_KIND_DATA_SOURCE finds what the manifests of projects declare in `data_sources`, before
 * a task's command begins, and is asked for nothing else; by each worker once for a source of a revision, for
 * as long as its answer is there. Its payload is
 *   {"name", "type", "source", "revision", "sha256", "mount_path",     as in the manifest, or null
 *    "project", "project_revision", "wallet_id"}                       whose project it is, or null
 * It gives 0 and replies
 *   {"outcome": "found", "path": "/..."}             a file or a folder of this machine, which tasks may read
 *   {"outcome": "unavailable", "reason": "..."}      not now: the task is tried again, here or elsewhere
 *   {"outcome": "refused", "reason": "..."}          never: the task has failed
 * The payer reads the reason, which may be left out, and pays for neither. What gives anything but 0, does
 * not reply, or throws, says "unavailable"; calyx_call_reply refuses a reply that is none of these as
 * CALYX_INVALID. It may take its time, and is to ask calyx_call_cancelled meanwhile; the other functions of a
 * call are CALYX_UNSUPPORTED there. It is called on workers' threads, at once for different sources. */

/* Tells how far a task is, as often as one likes: a JSON object of at most 65536 bytes, which the job's
 * readers see with its task. It may be kept back, or lost with its worker. */
CALYX_API CALYX_CHECKED calyx_status calyx_call_progress(calyx_call* call, const char* json,
                                                         size_t size) CALYX_NOEXCEPT;

/* Whether to stop. CALYX_OK: go on. CALYX_STOPPED: the job was cancelled or the task's time is over, and what
 * the function gives is lost; or the worker stops, and what it gives still counts. Cheap to ask. A cancel is
 * heard of within ten seconds, and sooner where progress is told. */
CALYX_API CALYX_CHECKED calyx_status calyx_call_cancelled(calyx_call* call) CALYX_NOEXCEPT;

/* The bytes that an attempt of this task kept last, this one or one before it; none where none did. Owns:
 * *out, given back with calyx_text_free. CALYX_UNSUPPORTED: the market is in memory, and has no place. */
CALYX_API CALYX_CHECKED calyx_status calyx_call_checkpoint(calyx_call* call, calyx_text* out) CALYX_NOEXCEPT;

/* Keeps `size` bytes, at most 67108864, in the place of those kept before: durable, and whole or not at all.
 * They go when the job has ended, and are no part of its result. `bytes` may be NULL when `size` is 0.
 * CALYX_STOPPED: the job is over, or the task somebody else's. */
CALYX_API CALYX_CHECKED calyx_status calyx_call_keep_checkpoint(calyx_call* call, const void* bytes,
                                                                size_t size) CALYX_NOEXCEPT;

/* Says the result or the error, of which the function's return value decides: at most 67108864 bytes, without
 * a NUL. A later reply replaces it. A result that is no JSON fails its task. What is said to a
 * call of another kind is judged at once. */
CALYX_API CALYX_CHECKED calyx_status calyx_call_reply(calyx_call* call, const char* text,
                                                      size_t size) CALYX_NOEXCEPT;

/* Starts threads that do the tasks of jobs, until they are stopped. `options_json` (at most 65536 bytes) is a
 * JSON object, whose members may all be left out, or NULL:
 *   name             who it is, 1 to 128 bytes; "local"
 *   threads          1 to 1024; 1. One more keeps leases alive
 *   tasks_max        how many tasks a thread takes at once, 1 to 4096; 256
 *   host_wallet_id   the wallet that is paid; the market's house wallet
 *   has              {"cpu", "memory_mb", "gpu_count", "gpu_memory_mb", "storage_gb", "profile"}: a job that
 *                    needs more is not for it
 *   gpu_types        ["A100", ...]
 *   commands         {"scratch", "helper", "readable": [...], "writable": [...], "network",
 *                    "memory_mb": 4096, "disk_mb": 8192, "caches", "cache_mb": 8192,
 *                    "user": {"user", "group"}, "allow_bare_host",
 *                    "containers", "bubblewrap", "roots": {image: folder}}: it also runs commands, whose
 *                    files lie in `scratch`, which take so much where their job says nothing of it, and
 *                    which are of that user where the host is root, and find what their projects'
 *                    `cache_mounts` keep below `caches`; in images by `containers` ("auto",
 *                    "none" or a path of podman or docker), in `roots` by `bubblewrap` (likewise), else
 *                    bare if allowed
 * Owns: *out, given back with calyx_worker_stop, before or after its engine. */
CALYX_API CALYX_CHECKED calyx_status calyx_worker_start(calyx_engine* engine, const char* options_json,
                                                        calyx_worker** out) CALYX_NOEXCEPT;

/* Gives a worker back. Asks its tasks to stop, waits until they have, and lets others have the rest. Of two
 * threads that give one back the second does not wait. Inside a host's function or callback it only asks, and
 * the worker still stands: what it would wait for could wait for it. Somebody outside gives it back. */
CALYX_API void calyx_worker_stop(calyx_worker* worker) CALYX_NOEXCEPT;

/* Wipes and gives back the letters, and zeroes *text. `text` or NULL. */
CALYX_API void calyx_text_free(calyx_text* text) CALYX_NOEXCEPT;

/* What went wrong in the last call on this thread, as `reason: message`; empty when nothing did. Never NULL.
 * Every function but this one and the two below begins by clearing it; it lives until the next call. */
CALYX_API const char* calyx_last_error(void) CALYX_NOEXCEPT;

/* The version, such as "0.1.0". */
CALYX_API const char* calyx_version(void) CALYX_NOEXCEPT;

/* Compare with CALYX_ABI_VERSION: another number means that the library loaded is not for this header. */
CALYX_API uint32_t calyx_abi_version(void) CALYX_NOEXCEPT;

#ifdef __cplusplus
}
#endif
#endif
