/* Sizes, offsets and numbers that callers have compiled in. A line that no longer compiles is a broken
 * promise: mend the header, not the line. */
#include <calyx.h>
#include <stddef.h>

#define HOLDS(name, fact) typedef char name[(fact) ? 1 : -1]

HOLDS(status_bytes, sizeof(calyx_status) == 4);
HOLDS(status_is_signed, (calyx_status)-1 < 0);
HOLDS(abi_version, CALYX_ABI_VERSION == 1);
HOLDS(read_only, CALYX_READ_ONLY == 1);

HOLDS(ok, CALYX_OK == 0);
HOLDS(invalid, CALYX_INVALID == 1);
HOLDS(not_found, CALYX_NOT_FOUND == 2);
HOLDS(conflict, CALYX_CONFLICT == 3);
HOLDS(refused, CALYX_REFUSED == 4);
HOLDS(unavailable, CALYX_UNAVAILABLE == 5);
HOLDS(stopped, CALYX_STOPPED == 6);
HOLDS(unsupported, CALYX_UNSUPPORTED == 7);
HOLDS(corrupt, CALYX_CORRUPT == 8);
HOLDS(internal, CALYX_INTERNAL == 9);
HOLDS(unknown, CALYX_UNKNOWN == 10);

/* Where a pointer has 8 bytes, which is where calyx runs. */
HOLDS(text_size, sizeof(calyx_text) == 16);
HOLDS(text_data_at, offsetof(calyx_text, data) == 0);
HOLDS(text_size_at, offsetof(calyx_text, size) == 8);

HOLDS(options_size, sizeof(calyx_options) == 80);
HOLDS(options_struct_size_at, offsetof(calyx_options, struct_size) == 0);
HOLDS(options_path_at, offsetof(calyx_options, path) == 8);
HOLDS(options_busy_timeout_ms_at, offsetof(calyx_options, busy_timeout_ms) == 16);
HOLDS(options_flags_at, offsetof(calyx_options, flags) == 24);
HOLDS(options_issuer_at, offsetof(calyx_options, issuer) == 32);
HOLDS(options_ctx_at, offsetof(calyx_options, ctx) == 40);
HOLDS(options_now_us_at, offsetof(calyx_options, now_us) == 48);
HOLDS(options_random_at, offsetof(calyx_options, random) == 56);
HOLDS(options_sign_at, offsetof(calyx_options, sign) == 64);
HOLDS(options_signing_threads_at, offsetof(calyx_options, signing_threads) == 72);

HOLDS(kind_task, CALYX_KIND_TASK == 1);
HOLDS(kind_recipe, CALYX_KIND_RECIPE == 2);
HOLDS(kind_settlement, CALYX_KIND_SETTLEMENT == 3);
HOLDS(kind_transport, CALYX_KIND_TRANSPORT == 4);
HOLDS(kind_container, CALYX_KIND_CONTAINER == 5);
HOLDS(kind_data_source, CALYX_KIND_DATA_SOURCE == 6);
HOLDS(input_size, sizeof(calyx_input) == 48);
HOLDS(input_struct_size_at, offsetof(calyx_input, struct_size) == 0);
HOLDS(input_payload_at, offsetof(calyx_input, payload) == 8);
HOLDS(input_payload_size_at, offsetof(calyx_input, payload_size) == 16);
HOLDS(input_job_id_at, offsetof(calyx_input, job_id) == 24);
HOLDS(input_index_at, offsetof(calyx_input, index) == 32);
HOLDS(input_attempt_at, offsetof(calyx_input, attempt) == 40);

int main(void) {
  calyx_options options = CALYX_OPTIONS_INIT;
  return options.struct_size == 80 && options.path == NULL && options.busy_timeout_ms == 5000 &&
                 options.flags == 0 && options.issuer == NULL && options.ctx == NULL &&
                 options.now_us == NULL && options.random == NULL && options.sign == NULL &&
                 options.signing_threads == 0 && calyx_abi_version() == CALYX_ABI_VERSION
             ? 0
             : 1;
}
