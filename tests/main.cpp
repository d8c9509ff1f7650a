/// \file
/// The `main` of every test program, and where its checkout is. A file of tests defines none.
#define DOCTEST_CONFIG_IMPLEMENT_WITH_MAIN
#include <doctest/doctest.h>
#include <pthread.h>
#include <unistd.h>

#include <atomic>
#include <csignal>
#include <cstring>

#include "testing.hpp"

namespace {

/// Says which test hangs. ctest ends a file that takes too long without a word of where it was; this is a
/// little sooner. A child that a test forks has no alarm.
struct Watch final : doctest::IReporter {
  explicit Watch(const doctest::ContextOptions& /*options*/) {}
  void test_run_start() override {
    std::signal(SIGALRM, [](int /*signal*/) {
      say("\nout of time in: ");
      say(running.load());
      say("\n");
      ::_exit(124);
    });
    ::alarm(CALYX_TEST_TIMEOUT_S - CALYX_TEST_TIMEOUT_S / 20);
  }
  void test_case_start(const doctest::TestCaseData& test) override { running = test.m_name; }
  void test_run_end(const doctest::TestRunStats& /*stats*/) override { running = "the program's end"; }

  void report_query(const doctest::QueryData& /*data*/) override {}
  void test_case_reenter(const doctest::TestCaseData& /*test*/) override {}
  void test_case_end(const doctest::CurrentTestCaseStats& /*stats*/) override {}
  void test_case_exception(const doctest::TestCaseException& /*thrown*/) override {}
  void subcase_start(const doctest::SubcaseSignature& /*subcase*/) override {}
  void subcase_end() override {}
  void log_assert(const doctest::AssertData& /*data*/) override {}
  void log_message(const doctest::MessageData& /*data*/) override {}
  void test_case_skipped(const doctest::TestCaseData& /*test*/) override {}

 private:
  static void say(const char* words) {  // from a signal's handler
    static_cast<void>(!::write(STDERR_FILENO, words, std::strlen(words)));
  }
  static inline std::atomic<const char*> running{"the program's start"};
};
DOCTEST_REGISTER_LISTENER("watch", 1, Watch);

}  // namespace

#if defined(__clang__) && __clang_major__ == 14
#if __has_feature(address_sanitizer)
// Tests fork while other threads run. The C library sees to it that the child finds its heap's locks open;
// AddressSanitizer, whose heap stands in for that one, learned it after clang 14: until then a child may wait
// without end for a lock that a thread of its parent had held. These are the functions by which its own
// search for leaks stops the heap.
namespace __lsan {
void LockAllocator();
void UnlockAllocator();
}  // namespace __lsan
namespace __sanitizer {
void StackDepotLockAll();
void StackDepotUnlockAll();
}  // namespace __sanitizer

namespace {
void stop_heap() {
  __lsan::LockAllocator();
  __sanitizer::StackDepotLockAll();
}
void let_heap_go() {
  __sanitizer::StackDepotUnlockAll();
  __lsan::UnlockAllocator();
}
[[maybe_unused]] const int heap_stands_still_at_forks =
    ::pthread_atfork(&stop_heap, &let_heap_go, &let_heap_go);
}  // namespace
#endif
#endif

namespace calyx::testing {

const std::string vectors = CALYX_TEST_VECTORS;
const std::string runner_helper = CALYX_TEST_RUNNER_HELPER;
const std::string hostile_program = CALYX_TEST_HOSTILE;
const std::string docker_program = CALYX_TEST_DOCKER;

}  // namespace calyx::testing
