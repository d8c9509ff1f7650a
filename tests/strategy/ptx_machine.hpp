/// \file
/// A machine for the PTX that `strategy::ptx_of` writes, and for no other: it reads the text, refuses what it
/// does not know, and runs the functions on the host. Each access must lie in the memory that the call was
/// given, and at a multiple of its size.
#pragma once

#include <array>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <map>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include "calyx_kernels/prop_amm_linked.hpp"

namespace calyx::testing {

class PtxMachine {
 public:
  /// What the text is not, or what it does that it must not.
  struct Fault : std::runtime_error {
    using std::runtime_error::runtime_error;
  };

  explicit PtxMachine(const std::string& text) {
    read(text);
    if (functions_.size() != 2) throw Fault("two functions are wanted");
  }

  /// Memory that a call may read, or write too.
  struct Region {
    const void* from;
    std::uint64_t bytes;
    bool writable;
  };

  kernels::linked::End call(const std::string& name, const std::vector<Region>& regions,
                            const std::array<std::uint64_t, 8>& given, std::uint64_t steps_most) const {
    const auto found = functions_.find(name);
    if (found == functions_.end()) throw Fault("no function " + name);
    return Run{*this, found->second, regions, given, steps_most}.run();
  }

  std::size_t instructions() const {
    std::size_t count = 0;
    for (const auto& [name, function] : functions_) count += function.code.size();
    return count;
  }

 private:
  enum class Kind : std::uint8_t {
    compute,
    compare,
    load,
    store,
    load_param,
    store_param,
    branch,
    call,
    leave
  };
  using Compute = std::uint64_t (*)(std::uint64_t, std::uint64_t, std::uint64_t, bool& carry);
  using Compare = bool (*)(std::uint64_t, std::uint64_t);
  struct Operand {
    bool is_register = false;
    std::uint32_t index = 0;
    std::uint64_t number = 0;
  };
  struct Step {
    Kind kind{};
    std::int32_t guard = -1;
    bool guard_not = false;
    std::uint32_t to = 0;
    std::vector<Operand> from;
    Compute compute = nullptr;
    Compare compare = nullptr;
    char joins = 0;  ///< '&' or '|' for a comparison with a third operand.
    std::uint32_t size = 8;
    std::string name;  ///< Of a label, a parameter or a function.
    std::uint32_t target = 0;
    std::uint64_t offset = 0;
  };
  struct Function {
    std::map<std::string, std::uint32_t> registers;
    std::map<std::string, std::uint32_t> limits;  ///< Of `.reg .b64 %s<12>`: 12 by `s`.
    std::map<std::string, std::string> types;
    std::map<std::string, std::uint32_t> labels;
    std::vector<Step> code;
    std::uint32_t scratch = 0;
  };

  static double real(std::uint64_t bits) { return kernels::math::double_of(bits); }
  static std::uint64_t bits(double value) { return kernels::math::bits_of(value); }
  static std::int64_t s(std::uint64_t value) { return static_cast<std::int64_t>(value); }
  static std::uint64_t u(std::int64_t value) { return static_cast<std::uint64_t>(value); }

  static const std::map<std::string, std::pair<std::uint32_t, Compute>>& computes() {
    using W = kernels::bytecode::Wide;
    using N = std::uint64_t;
    // Shifts by more than a width leave what a shift by the width does.
    static const std::map<std::string, std::pair<std::uint32_t, Compute>> table = {
        {"mov.b64", {1, [](N x, N, N, bool&) { return x; }}},
        {"mov.u64", {1, [](N x, N, N, bool&) { return x; }}},
        {"mov.pred", {1, [](N x, N, N, bool&) { return x; }}},
        {"cvta.local.u64", {1, [](N x, N, N, bool&) { return x; }}},
        {"cvt.u32.u64", {1, [](N x, N, N, bool&) { return x & 0xffffffffU; }}},
        {"cvt.rn.f64.u64", {1, [](N x, N, N, bool&) { return bits(static_cast<double>(x)); }}},
        {"cvt.rn.f64.s64", {1, [](N x, N, N, bool&) { return bits(static_cast<double>(s(x))); }}},
        {"cvt.rzi.u64.f64",
         {1,
          [](N x, N, N, bool&) -> N {
            if (!(real(x) >= 0.0 && real(x) < 0x1p64)) throw Fault("a conversion of what does not fit");
            return static_cast<N>(real(x));
          }}},
        {"add.u64", {2, [](N x, N y, N, bool&) { return x + y; }}},
        {"sub.u64", {2, [](N x, N y, N, bool&) { return x - y; }}},
        {"sub.u32", {2, [](N x, N y, N, bool&) { return (x - y) & 0xffffffffU; }}},
        {"add.cc.u64",
         {2,
          [](N x, N y, N, bool& carry) {
            carry = x + y < x;
            return x + y;
          }}},
        {"addc.u64", {2, [](N x, N y, N, bool& carry) { return x + y + (carry ? 1 : 0); }}},
        {"sub.cc.u64",
         {2,
          [](N x, N y, N, bool& carry) {
            carry = x < y;
            return x - y;
          }}},
        {"subc.u64", {2, [](N x, N y, N, bool& carry) { return x - y - (carry ? 1 : 0); }}},
        {"mul.lo.u64", {2, [](N x, N y, N, bool&) { return x * y; }}},
        {"mul.hi.u64", {2, [](N x, N y, N, bool&) { return static_cast<N>((W{x} * y) >> 64); }}},
        {"div.u64", {2, [](N x, N y, N, bool&) { return x / checked(y); }}},
        {"rem.u64", {2, [](N x, N y, N, bool&) { return x % checked(y); }}},
        {"div.s64", {2, [](N x, N y, N, bool&) { return u(s(x) / s(checked(y))); }}},
        {"rem.s64", {2, [](N x, N y, N, bool&) { return u(s(x) % s(checked(y))); }}},
        {"and.b64", {2, [](N x, N y, N, bool&) { return x & y; }}},
        {"or.b64", {2, [](N x, N y, N, bool&) { return x | y; }}},
        {"or.pred", {2, [](N x, N y, N, bool&) { return x | y; }}},
        {"xor.b64", {2, [](N x, N y, N, bool&) { return x ^ y; }}},
        {"shl.b64", {2, [](N x, N y, N, bool&) { return y > 63 ? 0 : x << y; }}},
        {"shr.u64", {2, [](N x, N y, N, bool&) { return y > 63 ? 0 : x >> y; }}},
        {"shr.s64", {2, [](N x, N y, N, bool&) { return u(s(x) >> (y > 63 ? 63 : y)); }}},
        {"min.u64", {2, [](N x, N y, N, bool&) { return x < y ? x : y; }}},
        {"max.u64", {2, [](N x, N y, N, bool&) { return x > y ? x : y; }}},
        {"min.s64", {2, [](N x, N y, N, bool&) { return s(x) < s(y) ? x : y; }}},
        {"max.s64", {2, [](N x, N y, N, bool&) { return s(x) > s(y) ? x : y; }}},
        {"selp.b64", {3, [](N x, N y, N p, bool&) { return p != 0 ? x : y; }}},
        {"add.rn.f64", {2, [](N x, N y, N, bool&) { return bits(real(x) + real(y)); }}},
        {"sub.rn.f64", {2, [](N x, N y, N, bool&) { return bits(real(x) - real(y)); }}},
        {"mul.rn.f64", {2, [](N x, N y, N, bool&) { return bits(real(x) * real(y)); }}},
        {"div.rn.f64", {2, [](N x, N y, N, bool&) { return bits(real(x) / real(y)); }}},
        {"sqrt.rn.f64", {1, [](N x, N, N, bool&) { return bits(std::sqrt(real(x))); }}},
        {"fma.rn.f64", {3, [](N x, N y, N z, bool&) { return bits(std::fma(real(x), real(y), real(z))); }}},
    };
    return table;
  }
  static std::uint64_t checked(std::uint64_t divisor) {
    if (divisor == 0) throw Fault("a division by zero");
    return divisor;
  }

  static const std::map<std::string, Compare>& compares() {
    using N = std::uint64_t;
    static const std::map<std::string, Compare> table = {
        {"eq.u64", [](N x, N y) { return x == y; }},
        {"ne.u64", [](N x, N y) { return x != y; }},
        {"lt.u64", [](N x, N y) { return x < y; }},
        {"le.u64", [](N x, N y) { return x <= y; }},
        {"gt.u64", [](N x, N y) { return x > y; }},
        {"ge.u64", [](N x, N y) { return x >= y; }},
        {"lt.s64", [](N x, N y) { return s(x) < s(y); }},
        {"le.s64", [](N x, N y) { return s(x) <= s(y); }},
        {"lt.u32", [](N x, N y) { return x < y; }},
        {"eq.f64", [](N x, N y) { return real(x) == real(y); }},
        {"neu.f64", [](N x, N y) { return real(x) != real(y); }},
        {"lt.f64", [](N x, N y) { return real(x) < real(y); }},
        {"le.f64", [](N x, N y) { return real(x) <= real(y); }},
        {"ge.f64", [](N x, N y) { return real(x) >= real(y); }},
        {"nan.f64", [](N x, N y) { return real(x) != real(x) || real(y) != real(y); }},
    };
    return table;
  }

  static const std::map<std::string, kernels::linked::Helper>& helpers() {
#define CALYX_NAMED(name) {"calyx_help_" #name, kernels::linked::name},
    static const std::map<std::string, kernels::linked::Helper> table = {CALYX_LINKED_HELPERS(CALYX_NAMED)};
#undef CALYX_NAMED
    return table;
  }

  static std::vector<std::string> split(const std::string& text, std::string_view by) {
    std::vector<std::string> parts;
    std::size_t from = 0;
    for (;;) {
      const std::size_t to = text.find(by, from);
      parts.push_back(text.substr(from, to == std::string::npos ? to : to - from));
      if (to == std::string::npos) return parts;
      from = to + by.size();
    }
  }
  static bool begins(const std::string& text, std::string_view with) { return text.rfind(with, 0) == 0; }

  std::uint32_t register_of(Function& function, const std::string& name, std::string_view type = "") {
    if (name.size() < 2 || name[0] != '%') throw Fault("no register: " + name);
    const std::size_t digits = name.find_first_of("0123456789");
    const std::string prefix = name.substr(1, digits == std::string::npos ? digits : digits - 1);
    const auto of = function.types.find(prefix);
    if (of == function.types.end()) throw Fault("not declared: " + name);
    if (digits != std::string::npos && std::stoul(name.substr(digits)) >= function.limits[prefix])
      throw Fault("not declared: " + name);
    if (!type.empty() && of->second != type) throw Fault("of another type: " + name);
    return function.registers.try_emplace(name, static_cast<std::uint32_t>(function.registers.size()))
        .first->second;
  }

  Operand operand(Function& function, const std::string& text) {
    if (begins(text, "%")) return {true, register_of(function, text), 0};
    if (begins(text, "0d")) return {false, 0, std::stoull(text.substr(2), nullptr, 16)};
    if (begins(text, "0x")) {
      if (text.back() != 'U') throw Fault("no number: " + text);
      return {false, 0, std::stoull(text.substr(2), nullptr, 16)};
    }
    std::size_t used = 0;
    const long long number = std::stoll(text, &used);
    if (used != text.size()) throw Fault("no number: " + text);
    return {false, 0, static_cast<std::uint64_t>(number)};
  }

  /// `[name+12]`
  static std::pair<std::string, std::uint64_t> place(const std::string& text) {
    const std::size_t plus = text.find('+');
    if (text.front() != '[' || text.back() != ']') throw Fault("no place: " + text);
    if (plus == std::string::npos) return {text.substr(1, text.size() - 2), 0};
    return {text.substr(1, plus - 1), std::stoull(text.substr(plus + 1, text.size() - plus - 2))};
  }

  void read(const std::string& text) {
    const std::vector<std::string> lines = split(text, "\n");
    if (lines.size() < 4 || lines[0] != ".version 7.0" || lines[1] != ".target sm_75" ||
        lines[2] != ".address_size 64")
      throw Fault("it begins as no text of ours");
    for (std::size_t i = 3; i < lines.size(); ++i) {
      const std::string& line = lines[i];
      if (line.empty()) continue;
      if (begins(line, ".extern .func (.param .align 8 .b8 out[16]) ")) {
        const std::string rest = line.substr(44);
        const std::string name = rest.substr(0, rest.find('('));
        if (rest.substr(name.size()) != "(.param .b64 a, .param .b64 b, .param .b64 c, .param .b64 d);" ||
            helpers().count(name) == 0)
          throw Fault("unknown: " + line);
        declared_[name] = true;
        continue;
      }
      if (!begins(line, ".visible .func (.param .align 8 .b8 end[24]) ")) throw Fault("unknown: " + line);
      const std::string name = line.substr(45, line.find('(', 45) - 45);
      if (lines.at(i + 1) !=
              "\t.param .b64 stack, .param .b64 data, .param .b64 storage, .param .b64 constants," ||
          lines.at(i + 2) !=
              "\t.param .b64 fuel, .param .b64 input, .param .b64 reserve_x, .param .b64 reserve_y)" ||
          lines.at(i + 3) != "{")
        throw Fault("other parameters");
      Function& function = functions_[name];
      for (i += 4; lines.at(i) != "}"; ++i) statement(function, lines[i], lines, i);
      for (Step& step : function.code) {
        if (step.kind != Kind::branch) continue;
        const auto to = function.labels.find(step.name);
        if (to == function.labels.end()) throw Fault("no label: " + step.name);
        step.target = to->second;
      }
      if (function.code.empty() || function.code.back().kind != Kind::leave) throw Fault("it has no end");
    }
  }

  void statement(Function& function, const std::string& line, const std::vector<std::string>& lines,
                 std::size_t& i) {
    if (line.back() == ':') {
      if (!function.labels
               .emplace(line.substr(0, line.size() - 1), static_cast<std::uint32_t>(function.code.size()))
               .second)
        throw Fault("twice: " + line);
      return;
    }
    if (line == "\t{") return call_of(function, lines, i);
    if (line.size() < 3 || line[0] != '\t' || line.back() != ';') throw Fault("unknown: " + line);
    std::string rest = line.substr(1, line.size() - 2);
    if (begins(rest, ".reg .")) {
      const auto words = split(rest.substr(6), " ");
      for (std::size_t w = 1; w < words.size(); ++w) {
        std::string name = words[w].substr(1);
        if (name.back() == ',') name.pop_back();
        if (const std::size_t angle = name.find('<'); angle != std::string::npos) {
          const std::string prefix = name.substr(0, angle);
          function.limits[prefix] = static_cast<std::uint32_t>(std::stoul(name.substr(angle + 1)));
          name = prefix;
        }
        function.types[name] = words[0];
      }
      return;
    }
    if (begins(rest, ".local .align 8 .b8 scratch[")) {
      function.scratch = static_cast<std::uint32_t>(std::stoul(rest.substr(28)));
      return;
    }
    Step step;
    if (rest[0] == '@') {
      const std::size_t space = rest.find(' ');
      step.guard_not = rest[1] == '!';
      step.guard = static_cast<std::int32_t>(register_of(
          function, rest.substr(step.guard_not ? 2 : 1, space - (step.guard_not ? 2 : 1)), "pred"));
      rest = rest.substr(space + 1);
    }
    const std::size_t space = rest.find(' ');
    const std::string op = rest.substr(0, space);
    const auto given =
        space == std::string::npos ? std::vector<std::string>() : split(rest.substr(space + 1), ", ");
    const auto wants = [&](std::size_t count) {
      if (given.size() != count) throw Fault("operands: " + line);
    };
    if (op == "ret") {
      wants(0);
      step.kind = Kind::leave;
    } else if (op == "bra" || op == "bra.uni") {
      wants(1);
      step.kind = Kind::branch;
      step.name = given[0];
    } else if (begins(op, "setp.")) {
      std::string how = op.substr(5);
      for (const auto& [word, sign] : {std::pair{".and.", '&'}, std::pair{".or.", '|'}})
        if (const std::size_t at = how.find(word); at != std::string::npos) {
          step.joins = sign;
          how = how.substr(0, at) + how.substr(at + std::strlen(word) - 1);
        }
      const auto found = compares().find(how);
      if (found == compares().end()) throw Fault("unknown: " + op);
      wants(step.joins == 0 ? 3 : 4);
      step.kind = Kind::compare;
      step.compare = found->second;
      step.to = register_of(function, given[0], "pred");
      for (std::size_t n = 1; n < given.size(); ++n) step.from.push_back(operand(function, given[n]));
      if (!step.from[0].is_register) throw Fault("a number first: " + line);
    } else if (op == "ld.param.u64") {
      wants(2);
      step.kind = Kind::load_param;
      step.to = register_of(function, given[0]);
      step.name = place(given[1]).first;
    } else if (op == "st.param.b64") {
      wants(2);
      step.kind = Kind::store_param;
      step.offset = place(given[0]).second;
      if (place(given[0]).first != "end" || step.offset > 16 || !begins(given[1], "%"))
        throw Fault("unknown: " + line);
      step.from.push_back(operand(function, given[1]));
    } else if (begins(op, "ld.u") || begins(op, "st.u")) {
      wants(2);
      const bool loads = op[0] == 'l';
      step.kind = loads ? Kind::load : Kind::store;
      step.size = static_cast<std::uint32_t>(std::stoul(op.substr(4))) / 8;
      const auto where = place(given[loads ? 1 : 0]);
      step.offset = where.second;
      step.from.push_back(operand(function, where.first));
      if (loads)
        step.to = register_of(function, given[0], "b64");
      else
        step.from.push_back({true, register_of(function, given[1], "b64"), 0});
    } else {
      const auto found = computes().find(op);
      if (found == computes().end()) throw Fault("unknown: " + op);
      wants(found->second.first + 1);
      step.kind = Kind::compute;
      step.compute = found->second.second;
      step.to = register_of(function, given[0]);
      for (std::size_t n = 1; n < given.size(); ++n)
        step.from.push_back(given[n] == "scratch" ? Operand{true, register_index(function, "scratch"), 0}
                                                  : operand(function, given[n]));
    }
    function.code.push_back(std::move(step));
  }

  static std::uint32_t register_index(Function& function, const std::string& name) {
    return function.registers.try_emplace(name, static_cast<std::uint32_t>(function.registers.size()))
        .first->second;
  }

  /// The ten lines of a call.
  void call_of(Function& function, const std::vector<std::string>& lines, std::size_t& i) {
    const auto is = [&](std::string_view wanted) {
      if (lines.at(++i) != wanted) throw Fault("no call: " + lines[i]);
    };
    is("\t.param .b64 a; .param .b64 b; .param .b64 c; .param .b64 d;");
    is("\t.param .align 8 .b8 out[16];");
    Step step;
    step.kind = Kind::call;
    for (const char name : {'a', 'b', 'c', 'd'}) {
      const std::string begin = std::string("\tst.param.b64 [") + name + "+0], ";
      const std::string& line = lines.at(++i);
      if (!begins(line, begin) || line.back() != ';') throw Fault("no call: " + line);
      step.from.push_back(
          {true, register_of(function, line.substr(begin.size(), line.size() - begin.size() - 1), "b64"), 0});
    }
    const std::string& line = lines.at(++i);
    const std::string end = ", (a, b, c, d);";
    if (!begins(line, "\tcall.uni (out), ") || line.size() < end.size() + 17 ||
        line.substr(line.size() - end.size()) != end)
      throw Fault("no call: " + line);
    step.name = line.substr(17, line.size() - end.size() - 17);
    if (declared_.count(step.name) == 0) throw Fault("not declared: " + step.name);
    for (int n = 0; n < 2; ++n) {
      const std::string& loaded = lines.at(++i);
      const std::string tail = n == 0 ? ", [out+0];" : ", [out+8];";
      if (!begins(loaded, "\tld.param.b64 ") || loaded.substr(loaded.size() - tail.size()) != tail)
        throw Fault("no call: " + loaded);
      const std::uint32_t to =
          register_of(function, loaded.substr(14, loaded.size() - tail.size() - 14), "b64");
      if (n == 0)
        step.to = to;
      else
        step.target = to;
    }
    is("\t}");
    function.code.push_back(std::move(step));
  }

  struct Run {
    const PtxMachine& machine;
    const Function& function;
    std::vector<Region> regions;
    const std::array<std::uint64_t, 8>& given;
    std::uint64_t steps_most;
    std::vector<std::uint64_t> cells{};
    std::vector<std::uint64_t> scratch{};

    void check(std::uint64_t at, std::uint64_t size, std::uint64_t aligned, bool to_write) const {
      if (at % aligned != 0) throw Fault("an access that is not aligned");
      for (const Region& region : regions) {
        const auto from = reinterpret_cast<std::uint64_t>(region.from);
        if ((region.writable || !to_write) && size <= region.bytes && at - from <= region.bytes - size)
          return;
      }
      throw Fault("an access out of the call's memory");
    }

    std::uint64_t value(const Operand& operand) const {
      return operand.is_register ? cells[operand.index] : operand.number;
    }

    kernels::linked::Pair help(const Step& step) {
      std::uint64_t w[4];
      for (int n = 0; n < 4; ++n) w[n] = cells[step.from[static_cast<std::size_t>(n)].index];
      if (step.name == "calyx_help_move" && w[2] != 0) {
        check(w[0], w[2], 1, true);
        check(w[1], w[2], 1, false);
      }
      if (step.name == "calyx_help_fill" && w[2] != 0) check(w[0], w[2], 1, true);
      if (step.name == "calyx_help_fill_slots" && w[2] * w[3] != 0) {
        check(w[0], w[2] * w[3] * 8, 1, true);
        check(w[1], w[3] * 8, 8, false);
      }
      if (step.name == "calyx_help_integer") check(w[0], kernels::linked::integer_slots * 8, 8, true);
      if (step.name == "calyx_help_divide" && (w[2] | w[3]) == 0) throw Fault("a division by zero");
      return helpers().at(step.name)(w[0], w[1], w[2], w[3]);
    }

    kernels::linked::End run() {
      // What nothing was written to is whatever it is.
      cells.assign(function.registers.size(), 0xbadc0ffee0ddf00dULL);
      scratch.assign(function.scratch / 8, 0xbadc0ffee0ddf00dULL);
      regions.push_back({scratch.data(), function.scratch, true});
      if (const auto at = function.registers.find("scratch"); at != function.registers.end())
        cells[at->second] = reinterpret_cast<std::uint64_t>(scratch.data());
      std::uint64_t end[3] = {};
      bool carry = false;
      for (std::size_t pc = 0;;) {
        if (steps_most-- == 0) throw Fault("it runs without end");
        const Step& step = function.code.at(pc++);
        if (step.guard >= 0 && (cells[static_cast<std::size_t>(step.guard)] != 0) == step.guard_not) continue;
        switch (step.kind) {
          case Kind::compute: {
            std::uint64_t x[3] = {};
            for (std::size_t n = 0; n < step.from.size(); ++n) x[n] = value(step.from[n]);
            cells[step.to] = step.compute(x[0], x[1], x[2], carry);
            break;
          }
          case Kind::compare: {
            bool is = step.compare(value(step.from[0]), value(step.from[1]));
            if (step.joins == '&') is = is && value(step.from[2]) != 0;
            if (step.joins == '|') is = is || value(step.from[2]) != 0;
            cells[step.to] = is ? 1 : 0;
            break;
          }
          case Kind::load: {
            const std::uint64_t at = value(step.from[0]) + step.offset;
            check(at, step.size, step.size, false);
            std::uint64_t word = 0;
            std::memcpy(&word, reinterpret_cast<const void*>(at), step.size);
            cells[step.to] = word;
            break;
          }
          case Kind::store: {
            const std::uint64_t at = value(step.from[0]) + step.offset;
            check(at, step.size, step.size, true);
            const std::uint64_t word = value(step.from[1]);
            std::memcpy(reinterpret_cast<void*>(at), &word, step.size);
            break;
          }
          case Kind::load_param: {
            static constexpr const char* names[] = {"stack", "data",  "storage",   "constants",
                                                    "fuel",  "input", "reserve_x", "reserve_y"};
            std::size_t n = 0;
            while (n < 8 && step.name != names[n]) ++n;
            if (n == 8) throw Fault("no parameter " + step.name);
            cells[step.to] = given[n];
            break;
          }
          case Kind::store_param: end[step.offset / 8] = value(step.from[0]); break;
          case Kind::branch: pc = step.target; break;
          case Kind::call: {
            const kernels::linked::Pair pair = help(step);
            cells[step.to] = pair.low;
            cells[step.target] = pair.high;
            break;
          }
          case Kind::leave: return {end[0], end[1], end[2]};
        }
      }
    }
  };

  std::map<std::string, bool> declared_;
  std::map<std::string, Function> functions_;
};

/// A program's text, read, with the constants where a text may read whole words of them.
class PtxText {
 public:
  PtxText(const std::string& text, std::uint32_t stack_slots, const unsigned char* constants,
          std::size_t constants_bytes)
      : stack_slots_(stack_slots), constants_((constants_bytes + 7) / 8), machine_(text) {
    if (constants_bytes != 0) std::memcpy(constants_.data(), constants, constants_bytes);
  }

  kernels::linked::End call(bool trade, std::uint64_t* stack, const unsigned char* data,
                            unsigned char* storage, std::uint64_t fuel) const {
    namespace linked = kernels::linked;
    constexpr std::uint64_t storage_bytes = kernels::prop_amm::storage_bytes;
    const std::uint32_t skew = trade ? linked::trade_skew : linked::quote_skew;
    const std::uint32_t size = trade ? linked::trade_size : linked::quote_size;
    const auto at = [](const void* memory) { return reinterpret_cast<std::uint64_t>(memory); };
    std::uint64_t numbers[3];
    std::memcpy(numbers, data + 1, sizeof numbers);
    return machine_.call(
        trade ? linked::after_name : linked::swap_name,
        {{stack, std::uint64_t{stack_slots_} * 8, true},
         {data - skew, std::uint64_t{skew} + size, false},
         {storage, storage == nullptr ? 0 : storage_bytes, true},
         {constants_.data(), constants_.size() * 8, false}},
        {at(stack), at(data), at(storage), at(constants_.data()), fuel, numbers[0], numbers[1], numbers[2]},
        // More than any instruction becomes, and what is done before the first.
        20'000 + 200 * fuel);
  }

 private:
  std::uint32_t stack_slots_;
  std::vector<std::uint64_t> constants_;
  PtxMachine machine_;
};

/// A text as `kernels::linked::Strategy` asks it.
struct PtxAsked {
  const PtxText* text = nullptr;
  kernels::linked::End swap(std::uint64_t* stack, const unsigned char* data, unsigned char*,
                            const unsigned char*, std::uint64_t fuel, std::uint64_t, std::uint64_t,
                            std::uint64_t) const {
    return text->call(false, stack, data, nullptr, fuel);
  }
  kernels::linked::End after(std::uint64_t* stack, const unsigned char* data, unsigned char* storage,
                             const unsigned char*, std::uint64_t fuel, std::uint64_t, std::uint64_t,
                             std::uint64_t) const {
    return text->call(true, stack, data, storage, fuel);
  }
};

}  // namespace calyx::testing
