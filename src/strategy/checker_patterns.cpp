#include "strategy/body_checker.hpp"

namespace calyx::strategy {

void BodyChecker::bind(Index pattern_index, Index matched, int by_reference) {
  Pattern pattern = tree_.patterns[pattern_index];
  all_.spend(pattern.at);
  // A pattern that takes something apart looks behind references, and its names then are references.
  const bool takes_apart = pattern.kind == PatternKind::tuple || pattern.kind == PatternKind::variant ||
                           pattern.kind == PatternKind::structure || pattern.kind == PatternKind::path ||
                           pattern.kind == PatternKind::literal || pattern.kind == PatternKind::range;
  if (pattern.kind == PatternKind::bind && is_constant_name(pattern)) {
    tree_.patterns[pattern_index].kind = PatternKind::path;
    bind(pattern_index, matched, by_reference);
    return;
  }
  std::uint32_t peeled = 0;
  if (takes_apart)
    while (kind(matched) == Kind::reference) {
      by_reference = type(matched).is_mutable ? 2 : 1;
      matched = type(matched).args[0];
      ++peeled;
    }
  const auto done = [&] {
    Pattern& kept = tree_.patterns[pattern_index];
    kept.type = matched;
    kept.peeled = peeled;
    kept.local = pattern.local;
    kept.variant = pattern.variant;
    kept.constant = pattern.constant;
    kept.by_reference = pattern.by_reference;
  };
  switch (pattern.kind) {
    case PatternKind::any:
    case PatternKind::rest: break;
    case PatternKind::bind: {
      if (by_reference != 0) pattern.by_reference = true;
      const Index found = pattern.by_reference ? reference(matched, by_reference == 2) : matched;
      if (either_ != nullptr) {
        // Each side of an `|` binds the same names.
        for (const auto& [name, local] : *either_)
          if (name == pattern.name) {
            same(pattern.at, body_.locals[local], found);
            pattern.local = local;
          }
      }
      if (pattern.local == none) pattern.local = new_local(pattern.name, found);
      break;
    }
    case PatternKind::literal: {
      const Index found = check(pattern.low, matched);
      same(pattern.at, matched, found);
      break;
    }
    case PatternKind::range:
      if (pattern.low != none) same(pattern.at, matched, check(pattern.low, matched));
      if (pattern.high != none) same(pattern.at, matched, check(pattern.high, matched));
      break;
    case PatternKind::tuple: {
      const auto rest = std::find_if(pattern.kids.begin(), pattern.kids.end(), [&](Index kid) {
        return tree_.patterns[kid].kind == PatternKind::rest;
      });
      if (rest != pattern.kids.end()) refuse("unsupported", pattern.at, "`..` in a tuple is not supported");
      if (kind(matched) == Kind::variable) {
        std::vector<Index> parts;
        for (std::size_t i = 0; i < pattern.kids.size(); ++i) parts.push_back(fresh());
        same(pattern.at, matched, with(Kind::tuple, parts));
      }
      if (kind(matched) != Kind::tuple || type(matched).args.size() != pattern.kids.size())
        refuse("type_mismatch", pattern.at,
               "a tuple of " + std::to_string(pattern.kids.size()) + " is matched with `" +
                   all_.text(matched) + "`");
      for (std::size_t i = 0; i < pattern.kids.size(); ++i)
        bind(pattern.kids[i], type(matched).args[i], by_reference);
      break;
    }
    case PatternKind::path:
    case PatternKind::variant: {
      std::vector<Index> parts;
      if (is_prelude(pattern.name, "Some") || is_prelude(pattern.name, "None")) {
        if (kind(matched) == Kind::variable) same(pattern.at, matched, with(Kind::option, {fresh()}));
        if (kind(matched) != Kind::option) mismatch(pattern.at, matched, with(Kind::option, {fresh()}));
        pattern.variant = is_prelude(pattern.name, "Some") ? 1 : 0;
        if (pattern.variant == 1) parts.push_back(type(matched).args[0]);
      } else if (is_prelude(pattern.name, "Ok") || is_prelude(pattern.name, "Err")) {
        if (kind(matched) == Kind::variable)
          same(pattern.at, matched, with(Kind::result, {fresh(), fresh()}));
        if (kind(matched) != Kind::result)
          mismatch(pattern.at, matched, with(Kind::result, {fresh(), fresh()}));
        pattern.variant = is_prelude(pattern.name, "Ok") ? 1 : 0;
        parts.push_back(type(matched).args[pattern.variant == 1 ? 0 : 1]);
      } else if (const auto [enumeration, variant] = variant_named(pattern.module, pattern.name);
                 enumeration != none) {
        Type made;
        made.kind = Kind::enumeration;
        made.item = enumeration;
        same(pattern.at, matched, all_.make(made));
        pattern.variant = variant;
        parts = all_.variant_types(enumeration, variant);
      } else if (const Index constant =
                     all_.lookup(all_.constant_names_, pattern.module, pattern.name, self_type_);
                 constant != none && pattern.kind == PatternKind::path) {
        pattern.constant = constant;
        same(pattern.at, matched, all_.resolve(tree_.constants[constant].type, self_type_));
      } else if (const Index structure =
                     all_.lookup(all_.structure_names_, pattern.module, pattern.name, self_type_);
                 structure != none && pattern.kind == PatternKind::variant) {
        Type made;
        made.kind = Kind::structure;
        made.item = structure;
        same(pattern.at, matched, all_.make(made));
        parts = all_.structure_types(structure);
      } else {
        refuse("name_unknown", pattern.at, "the pattern `" + pattern.name + "` is not known");
      }
      if (parts.size() != pattern.kids.size())
        refuse("argument_count", pattern.at,
               "`" + pattern.name + "` has " + std::to_string(parts.size()) + " parts");
      for (std::size_t i = 0; i < parts.size(); ++i) bind(pattern.kids[i], parts[i], by_reference);
      break;
    }
    case PatternKind::structure: {
      const Index structure = all_.lookup(all_.structure_names_, pattern.module, pattern.name, self_type_);
      if (structure == none)
        refuse("name_unknown", pattern.at, "the structure `" + pattern.name + "` is not known");
      Type made;
      made.kind = Kind::structure;
      made.item = structure;
      same(pattern.at, matched, all_.make(made));
      for (std::size_t i = 0; i < pattern.kids.size(); ++i) {
        Index field_type = none;
        if (all_.structure_field(matched, pattern.fields[i], field_type) == none)
          refuse("name_unknown", pattern.at, "there is no field `" + pattern.fields[i] + "`");
        bind(pattern.kids[i], field_type, by_reference);
      }
      break;
    }
    case PatternKind::reference: {
      if (kind(matched) == Kind::variable) same(pattern.at, matched, reference(fresh()));
      if (kind(matched) != Kind::reference) mismatch(pattern.at, reference(fresh()), matched);
      bind(pattern.kids[0], type(matched).args[0]);
      break;
    }
    case PatternKind::either: {
      const std::size_t before = scope_.size();
      bind(pattern.kids[0], matched, by_reference);
      const std::vector<std::pair<std::string, Index>> names(
          scope_.begin() + static_cast<std::ptrdiff_t>(before), scope_.end());
      const auto* outer = either_;
      for (std::size_t i = 1; i < pattern.kids.size(); ++i) {
        either_ = &names;
        bind(pattern.kids[i], matched, by_reference);
        either_ = outer;
        if (scope_.size() != before + names.size())
          refuse("unsupported", pattern.at, "the sides of `|` bind different names");
      }
      break;
    }
  }
  done();
}

}  // namespace calyx::strategy
