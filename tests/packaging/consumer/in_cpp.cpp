// A market in memory, opened through the installed headers.
#include <calyx/calyx.hpp>
#include <cstdio>

int main() {
  auto engine = calyx::Engine::open({});
  if (!engine) return 1;
  std::printf("calyx %s\n", CALYX_VERSION);
  return engine->issuer() == "calyx" ? 0 : 1;
}
