/// \file
/// Steps of a JSON pointer (RFC 6901).
#pragma once

#include <string>
#include <string_view>

namespace calyx {

/// Appends `name` as one step of a pointer, its slash included.
inline void append_pointer_step(std::string& out, std::string_view name) {
  out.push_back('/');
  for (const char c : name) {
    if (c == '~')
      out += "~0";
    else if (c == '/')
      out += "~1";
    else
      out.push_back(c);
  }
}

}  // namespace calyx
