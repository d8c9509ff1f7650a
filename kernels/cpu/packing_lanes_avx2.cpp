// Four numbers at once, in the order of sums that packing_lanes.cpp and `energy` have. Functions are marked
// one by one: a flag for the file would also reach what headers define inline, and a linker could take that
// for the whole library.
#include "calyx_kernels/packing_lanes.hpp"

#if defined(__x86_64__) && defined(__GNUC__)

#include <immintrin.h>

#include <cstring>

#define CALYX_AVX2 __attribute__((target("avx2,popcnt")))
#define CALYX_AVX2_PART __attribute__((target("avx2,popcnt"), always_inline)) inline

namespace calyx::kernels::packing {
namespace {
namespace avx2 {

using Four = __m256d;

/// Places for pieces: eights, and at least one of what is no piece.
constexpr std::uint32_t places_max = (pieces_max / 8 + 1) * 8;
constexpr std::uint32_t groups_max = places_max / 4;
/// Where what is no piece stands: too far away for any.
constexpr double nowhere = 1e30;
/// Coordinates and angles beyond it are left to `energy` itself.
constexpr double range_max = 64.0;

CALYX_AVX2_PART Four all(double value) { return _mm256_set1_pd(value); }
CALYX_AVX2_PART Four none() { return _mm256_setzero_pd(); }
CALYX_AVX2_PART Four at(const double* from) { return _mm256_load_pd(from); }
CALYX_AVX2_PART void put(double* to, Four value) { _mm256_store_pd(to, value); }
CALYX_AVX2_PART Four root(Four value) { return _mm256_sqrt_pd(value); }

// Masks: all bits of a lane, or none. Negated comparisons hold where something is no number, as in C++.
CALYX_AVX2_PART Four below(Four a, Four b) { return _mm256_cmp_pd(a, b, _CMP_LT_OQ); }
CALYX_AVX2_PART Four above(Four a, Four b) { return _mm256_cmp_pd(a, b, _CMP_GT_OQ); }
CALYX_AVX2_PART Four at_least(Four a, Four b) { return _mm256_cmp_pd(a, b, _CMP_GE_OQ); }
CALYX_AVX2_PART Four not_below(Four a, Four b) { return _mm256_cmp_pd(a, b, _CMP_NLT_UQ); }
CALYX_AVX2_PART Four not_above(Four a, Four b) { return _mm256_cmp_pd(a, b, _CMP_NGT_UQ); }
CALYX_AVX2_PART Four both(Four a, Four b) { return _mm256_and_pd(a, b); }
CALYX_AVX2_PART Four either(Four a, Four b) { return _mm256_or_pd(a, b); }
CALYX_AVX2_PART Four but(Four a, Four b) { return _mm256_andnot_pd(b, a); }
CALYX_AVX2_PART Four choose(Four mask, Four yes, Four no) { return _mm256_blendv_pd(no, yes, mask); }
CALYX_AVX2_PART std::uint32_t bits_of(Four mask) {
  return static_cast<std::uint32_t>(_mm256_movemask_pd(mask));
}

CALYX_AVX2_PART Four sign_bits() { return all(-0.0); }
CALYX_AVX2_PART Four minus(Four a) { return _mm256_xor_pd(a, sign_bits()); }
CALYX_AVX2_PART Four size_of(Four a) { return _mm256_andnot_pd(sign_bits(), a); }

/// The sum of four sums, in the order that rows have.
CALYX_AVX2_PART double sum_of(Four sums) {
  const __m128d two = _mm_add_pd(_mm256_castpd256_pd128(sums), _mm256_extractf128_pd(sums, 1));
  return _mm_cvtsd_f64(_mm_add_sd(two, _mm_unpackhi_pd(two, two)));
}

/// The largest of four that are numbers and not below 0.
CALYX_AVX2_PART double largest_of(Four sizes) {
  const __m128d two = _mm_max_pd(_mm256_castpd256_pd128(sizes), _mm256_extractf128_pd(sizes, 1));
  return _mm_cvtsd_f64(_mm_max_sd(two, _mm_unpackhi_pd(two, two)));
}

// Rows. Each pass of the two loops adds one pair of the memory and takes the next one's product with what
// comes of it, so that a way goes through registers once.

CALYX_AVX2 double largest(const double* numbers, std::uint32_t row) {
  Four sizes = none();
  for (std::uint32_t i = 0; i < row; i += 4) sizes = _mm256_max_pd(size_of(at(numbers + i)), sizes);
  return largest_of(sizes);
}

CALYX_AVX2_PART double product(const double* a, const double* b, std::uint32_t row) {
  Four sums = none();
  for (std::uint32_t i = 0; i < row; i += 4) sums = sums + at(a + i) * at(b + i);
  return sum_of(sums);
}

/// Writes `from + factor * b` and returns its product with `other`.
CALYX_AVX2_PART double add(const double* from, double factor, const double* b, const double* other,
                           std::uint32_t row, double* out) {
  const Four factors = all(factor);
  Four sums = none();
  for (std::uint32_t i = 0; i < row; i += 4) {
    const Four sum = at(from + i) + factors * at(b + i);
    put(out + i, sum);
    sums = sums + at(other + i) * sum;
  }
  return sum_of(sums);
}

CALYX_AVX2 Heading heading(const Memory& memory, const double* gradient, double stiffness, std::uint32_t row,
                           double* way) {
  constexpr std::uint32_t length = Memory::length;
  Four slopes = none();
  Four sizes = none();
  if (memory.held == 0) {
    const double steep = 0.1 / math::square_root(product(gradient, gradient, row));
    const Four first = all(0.5 / stiffness < steep ? 0.5 / stiffness : steep);
    for (std::uint32_t i = 0; i < row; i += 4) {
      const Four sum = at(gradient + i) * first;
      put(way + i, sum);
      slopes = slopes + at(gradient + i) * sum;
      sizes = _mm256_max_pd(size_of(sum), sizes);
    }
    return {sum_of(slopes), largest_of(sizes)};
  }
  double part[length];
  const std::uint32_t newest = (memory.head + length - 1) % length;
  const std::uint32_t oldest = (memory.head + length - memory.held) % length;
  const double first = 1.0 / (memory.scale[newest] * memory.bend[newest]);
  double sum = product(memory.steps[newest], gradient, row);
  const double* from = gradient;
  for (std::uint32_t place = newest; place != oldest; from = way) {
    part[place] = sum * memory.scale[place];
    const std::uint32_t next = (place + length - 1) % length;
    sum = add(from, -part[place], memory.bends[place], memory.steps[next], row, way);
    place = next;
  }
  part[oldest] = sum * memory.scale[oldest];
  {
    const Four factors = all(-part[oldest]);
    const Four firsts = all(first);
    Four sums = none();
    for (std::uint32_t i = 0; i < row; i += 4) {
      const Four bend = at(memory.bends[oldest] + i);
      const Four scaled = (at(from + i) + factors * bend) * firsts;
      put(way + i, scaled);
      sums = sums + bend * scaled;
    }
    sum = sum_of(sums);
  }
  for (std::uint32_t place = oldest; place != newest;) {
    const double rest = part[place] - sum * memory.scale[place];
    const std::uint32_t next = (place + 1) % length;
    sum = add(way, rest, memory.steps[place], memory.bends[next], row, way);
    place = next;
  }
  const Four factors = all(part[newest] - sum * memory.scale[newest]);
  for (std::uint32_t i = 0; i < row; i += 4) {
    const Four last = at(way + i) + factors * at(memory.steps[newest] + i);
    put(way + i, last);
    slopes = slopes + at(gradient + i) * last;
    sizes = _mm256_max_pd(size_of(last), sizes);
  }
  return {sum_of(slopes), largest_of(sizes)};
}

CALYX_AVX2 double step(const double* here, double length, const double* way, const double* limit,
                       const double* gradient, std::uint32_t used, std::uint32_t row, double* next) {
  alignas(row_alignment) double descents[row_max];
  const Four factors = all(-length);
  for (std::uint32_t i = 0; i < row; i += 4) {
    const Four bound = at(limit + i);
    Four to = at(here + i) + factors * at(way + i);
    to = _mm256_min_pd(bound, _mm256_max_pd(minus(bound), to));
    put(next + i, to);
    put(descents + i, at(gradient + i) * (at(here + i) - to));
  }
  double expected = 0.0;
  for (std::uint32_t i = 0; i < used; ++i) expected += descents[i];
  return expected;
}

CALYX_AVX2 void remember(Memory& memory, const double* here, const double* next, const double* gradient,
                         const double* next_gradient, std::uint32_t row) {
  const std::uint32_t place = memory.head;
  const Four minus_one = all(-1.0);
  Four curvatures = none();
  Four bends = none();
  for (std::uint32_t i = 0; i < row; i += 4) {
    const Four step = at(next + i) + minus_one * at(here + i);
    const Four bend = at(next_gradient + i) + minus_one * at(gradient + i);
    put(memory.steps[place] + i, step);
    put(memory.bends[place] + i, bend);
    curvatures = curvatures + step * bend;
    bends = bends + bend * bend;
  }
  const double curvature = sum_of(curvatures);
  if (!(curvature > curvature_min)) return;
  memory.scale[place] = 1.0 / curvature;
  memory.bend[place] = sum_of(bends);
  memory.head = (place + 1) % Memory::length;
  if (memory.held < Memory::length) ++memory.held;
}

// The energy.

/// Four vectors, a component at a time.
struct Vectors {
  Four x;
  Four y;
};

CALYX_AVX2_PART Four dot(const Vectors& a, const Vectors& b) { return a.x * b.x + a.y * b.y; }
CALYX_AVX2_PART Four cross(const Vectors& a, const Vectors& b) { return a.x * b.y - a.y * b.x; }
CALYX_AVX2_PART Vectors plus(const Vectors& a, const Vectors& b) { return {a.x + b.x, a.y + b.y}; }
CALYX_AVX2_PART Vectors less(const Vectors& a, const Vectors& b) { return {a.x - b.x, a.y - b.y}; }
CALYX_AVX2_PART Vectors times(Four factor, const Vectors& a) { return {factor * a.x, factor * a.y}; }
CALYX_AVX2_PART Vectors left_of(const Vectors& a) { return {minus(a.y), a.x}; }
CALYX_AVX2_PART Vectors choose(Four mask, const Vectors& yes, const Vectors& no) {
  return {choose(mask, yes.x, no.x), choose(mask, yes.y, no.y)};
}

CALYX_AVX2_PART Vectors but(const Vectors& a, Four mask) { return {but(a.x, mask), but(a.y, mask)}; }

/// `a` with its signs turned where `signs` says so.
CALYX_AVX2_PART Vectors signed_by(Four signs, const Vectors& a) {
  return {_mm256_xor_pd(a.x, signs), _mm256_xor_pd(a.y, signs)};
}

/// Four rows of four, what was a column becoming a row.
struct Square {
  Four row[4];
};

CALYX_AVX2_PART Square turned(Four a, Four b, Four c, Four d) {
  const Four low = _mm256_unpacklo_pd(a, b);
  const Four high = _mm256_unpackhi_pd(a, b);
  const Four low_after = _mm256_unpacklo_pd(c, d);
  const Four high_after = _mm256_unpackhi_pd(c, d);
  return {{_mm256_permute2f128_pd(low, low_after, 0x20), _mm256_permute2f128_pd(high, high_after, 0x20),
           _mm256_permute2f128_pd(low, low_after, 0x31), _mm256_permute2f128_pd(high, high_after, 0x31)}};
}

/// `quick_direction` of four angles.
CALYX_AVX2_PART Vectors quick_directions(Four angle) {
  const Four to_whole = all(0x1.8p52);
  const Four shifted = angle * all(0x1.45f306dc9c883p-1) + to_whole;
  const Four quarters = shifted - to_whole;
  const Four rough = angle - quarters * all(0x1.921fb54400000p+0);
  const Four taken = quarters * all(0x1.0b4611a600000p-34);
  const Four x = rough - taken;
  const Four low = ((rough - x) - taken) - quarters * all(0x1.3198a2e037073p-69);
  const Four z = x * x;

  Four tail = all(1.0 / 355687428096000.0);
  tail = tail * z - all(1.0 / 1307674368000.0);
  tail = tail * z + all(1.0 / 6227020800.0);
  tail = tail * z - all(1.0 / 39916800.0);
  tail = tail * z + all(1.0 / 362880.0);
  tail = tail * z - all(1.0 / 5040.0);
  tail = tail * z + all(1.0 / 120.0);
  tail = tail * z - all(1.0 / 6.0);
  const Four sine = x + (x * z * tail + low * (all(1.0) - all(0.5) * z));

  tail = all(1.0 / 6402373705728000.0);
  tail = all(1.0 / 20922789888000.0) - tail * z;
  tail = tail * z - all(1.0 / 87178291200.0);
  tail = tail * z + all(1.0 / 479001600.0);
  tail = tail * z - all(1.0 / 3628800.0);
  tail = tail * z + all(1.0 / 40320.0);
  tail = tail * z - all(1.0 / 720.0);
  tail = tail * z + all(1.0 / 24.0);
  const Four half = all(0.5) * z;
  const Four main = all(1.0) - half;
  const Four cosine = main + (((all(1.0) - main) - half) + (z * z * tail - x * low));

  // The count of quarters stands in the last bits of what was shifted.
  const __m256i count = _mm256_castpd_si256(shifted);
  const Four odd = _mm256_castsi256_pd(_mm256_slli_epi64(count, 63));
  const __m256i second_bit = _mm256_set1_epi64x(2);
  const __m256i next = _mm256_add_epi64(count, _mm256_set1_epi64x(1));
  const Four sign_x = _mm256_castsi256_pd(_mm256_slli_epi64(_mm256_and_si256(next, second_bit), 62));
  const Four sign_y = _mm256_castsi256_pd(_mm256_slli_epi64(_mm256_and_si256(count, second_bit), 62));
  return {_mm256_xor_pd(choose(odd, sine, cosine), sign_x), _mm256_xor_pd(choose(odd, cosine, sine), sign_y)};
}

/// The pieces, four at a time and one by one (x, y and where it faces), and what each of them adds to the
/// gradient: x, y, theta, nothing.
struct Scene {
  Vectors centre[groups_max];
  Vectors facing[groups_max];
  alignas(row_alignment) double piece[places_max][4];
  alignas(row_alignment) double pull[places_max][4];
  double depths = 0.0;
  double shrinks = 1.0;  ///< What the gradient has for the radius.
};

/// For each set of eight lanes, as bits, which they are, one after the other in 8 bits each.
struct LaneLists {
  std::uint64_t of[256];
};

constexpr LaneLists make_lane_lists() {
  LaneLists out{};
  for (std::uint32_t mask = 0; mask < 256; ++mask) {
    std::uint32_t shift = 0;
    for (std::uint64_t lane = 0; lane < 8; ++lane) {
      if (((mask >> lane) & 1U) == 0) continue;
      out.of[mask] |= lane << shift;
      shift += 8;
    }
  }
  return out;
}

constexpr LaneLists lane_lists = make_lane_lists();

/// How far a number of a layout may move until its pairs are looked up again.
constexpr double nearby_reach = 0.01;

CALYX_AVX2 bool is_nearby(const Nearby& nearby, const double* numbers, std::uint32_t row) {
  if (!nearby.known) return false;
  Four furthest = none();
  for (std::uint32_t i = 0; i < row; i += 4)
    furthest = _mm256_max_pd(furthest, size_of(at(numbers + i) - at(nearby.numbers + i)));
  return bits_of(below(furthest, all(nearby_reach))) == 0xfU;
}

CALYX_AVX2_PART __m256 roughly(Four low, Four high) {
  return _mm256_set_m128(_mm256_cvtpd_ps(high), _mm256_cvtpd_ps(low));
}

/// Looks up the pairs that may be in each other in this layout or any nearby.
///
/// This is `plainly_apart` with less precision and as much more of a margin: a pair too many is found out by
/// its gap. Two centres come closer by up to 2 * sqrt(2) times what their numbers may move; the distance from
/// a flat side changes by that, by twice it as the side turns, and by twice it as the other piece does.
CALYX_AVX2 void look_up(const Scene& scene, const double* numbers, std::uint32_t count, Nearby& nearby) {
  // Of coordinates below `range_max` and what is made of them it forgives every rounding.
  constexpr float rounding = 1e-3F;
  constexpr float margin = rounding + 7.0F * static_cast<float>(nearby_reach);
  constexpr float disks = 2.0F + 3.0F * static_cast<float>(nearby_reach);
  alignas(row_alignment) float xs[places_max];
  alignas(row_alignment) float ys[places_max];
  alignas(row_alignment) float facings_x[places_max];
  alignas(row_alignment) float facings_y[places_max];
  for (std::uint32_t eight = 0; eight <= count / 8; ++eight) {
    const Vectors* const centre = scene.centre + 2 * eight;
    const Vectors* const facing = scene.facing + 2 * eight;
    _mm256_store_ps(xs + 8 * eight, roughly(centre[0].x, centre[1].x));
    _mm256_store_ps(ys + 8 * eight, roughly(centre[0].y, centre[1].y));
    _mm256_store_ps(facings_x + 8 * eight, roughly(facing[0].x, facing[1].x));
    _mm256_store_ps(facings_y + 8 * eight, roughly(facing[0].y, facing[1].y));
  }
  for (std::uint32_t i = 0; i < row_max; i += 4) put(nearby.numbers + i, at(numbers + i));
  nearby.known = true;
  using Eight = __m256;
  const Eight sign = _mm256_set1_ps(-0.0F);
  const Eight zero = _mm256_setzero_ps();
  const Eight one = _mm256_set1_ps(1.0F);
  std::uint32_t found = 0;
  for (std::uint32_t i = 0; i + 1 < count; ++i) {
    const Eight x = _mm256_set1_ps(xs[i]);
    const Eight y = _mm256_set1_ps(ys[i]);
    const Eight first_x = _mm256_set1_ps(facings_x[i]);
    const Eight first_y = _mm256_set1_ps(facings_y[i]);
    std::uint32_t later = 0xffU << ((i + 1) % 8);  // the lanes that come after i
    for (std::uint32_t j = (i + 1) / 8 * 8; j < count; j += 8) {
      const Eight away_x = _mm256_load_ps(xs + j) - x;
      const Eight away_y = _mm256_load_ps(ys + j) - y;
      const Eight second_x = _mm256_load_ps(facings_x + j);
      const Eight second_y = _mm256_load_ps(facings_y + j);
      const Eight turn = first_x * second_y - first_y * second_x;
      const Eight likeness = first_x * second_x + first_y * second_y;
      const Eight reach =
          _mm256_blendv_ps(_mm256_andnot_ps(sign, turn), one, _mm256_cmp_ps(likeness, zero, _CMP_GE_OQ));
      const Eight by_disks = _mm256_cmp_ps(away_x * away_x + away_y * away_y,
                                           _mm256_set1_ps(disks * disks + rounding), _CMP_GE_OQ);
      const Eight by_first =
          _mm256_cmp_ps(away_x * first_x + away_y * first_y + reach, _mm256_set1_ps(-margin), _CMP_LT_OQ);
      const Eight by_second =
          _mm256_cmp_ps(away_x * second_x + away_y * second_y - reach, _mm256_set1_ps(margin), _CMP_GT_OQ);
      const Eight apart = _mm256_or_ps(by_disks, _mm256_or_ps(by_first, by_second));
      const std::uint32_t mask = ~static_cast<std::uint32_t>(_mm256_movemask_ps(apart)) & later & 0xffU;
      later = 0xffU;
      // Eight are written, and the next ones over those that do not count.
      constexpr std::uint64_t each = 0x0101010101010101ULL;
      const std::uint64_t firsts = i * each;
      const std::uint64_t seconds = lane_lists.of[mask] + j * each;
      std::memcpy(nearby.first + found, &firsts, sizeof firsts);
      std::memcpy(nearby.second + found, &seconds, sizeof seconds);
      found += static_cast<std::uint32_t>(__builtin_popcount(mask));
    }
  }
  for (std::uint32_t i = 0; i < 4; ++i) {  // a piece and what is nowhere
    nearby.first[found + i] = 0;
    nearby.second[found + i] = static_cast<std::uint8_t>(count);
  }
  nearby.count = found;
}

/// What `gap` says of four pairs that are in each other. Where it has a distance not below 0 it says some
/// such distance.
struct Gaps {
  Four distance;
  Vectors joins;  ///< The way, times `size`.
  Four size;
  Vectors first_arm;   ///< What of the first piece turns with it: from its centre to where the second pushes.
  Vectors second_arm;  ///< Likewise of the second; nothing where a piece is pushed in its middle.
  Four unsure;         ///< Where nothing of this holds.
};

/// As `gap`, with what pieces cannot show each other left out: of the corners of a piece only the one on the
/// side to which the other's centre lies can be its nearest point, unless that centre lies in the middle,
/// and then it is unsure.
CALYX_AVX2_PART Gaps gaps(const Vectors& away, const Vectors& a, const Vectors& b) {
  const Four zero = none();
  const Four one = all(1.0);
  const Four slack = all(1e-9);
  const Four minus_slack = all(-1e-9);
  const Vectors left_a = left_of(a);
  const Vectors left_b = left_of(b);
  const Four away_a = dot(away, a);
  const Four away_b = dot(away, b);
  const Four along_a = dot(away, left_a);
  const Four along_b = dot(away, left_b);
  const Four turn = cross(a, b);
  const Four likeness = dot(a, b);
  const Four alike = at_least(likeness, zero);
  const Four reach = choose(alike, one, size_of(turn));

  // Square to the flat sides.
  const Four by_first = minus(away_a) - reach;
  const Four by_second = away_b - reach;
  const Four second_flat = above(by_second, by_first);
  Four best = choose(second_flat, by_second, by_first);

  // The corners next to the other's centre, and how far each lies behind the other's flat side.
  const Four sign_a = both(along_a, sign_bits());
  const Four sign_b = minus(both(along_b, sign_bits()));
  const Vectors corner_a = signed_by(sign_a, left_a);
  const Vectors corner_b = signed_by(sign_b, left_b);
  const Four side_a = size_of(along_a);
  const Four side_b = size_of(along_b);
  const Four behind_b = _mm256_xor_pd(turn, sign_a) - away_b;
  const Four behind_a = away_a - _mm256_xor_pd(turn, sign_b);
  Four unsure = not_above(_mm256_min_pd(side_a, side_b), slack);

  // From corner to corner: where that is what they show each other they are apart, since it is a distance
  // between points.
  const Four likely = _mm256_xor_pd(likeness, _mm256_xor_pd(sign_a, sign_b));
  const Four corners = both(both(not_above(behind_a, slack), not_above(behind_b, slack)),
                            both(not_below(side_a + likely, one), not_below(side_b + likely, one)));
  Four apart = zero;
  if (bits_of(corners) != 0) {
    const Vectors v = less(plus(away, corner_b), corner_a);
    apart = both(corners, above(dot(v, v), zero));
  }

  // Along the centres, from the first's centre to the second's corner, and from the first's corner to the
  // second's centre.
  const Four of_centres = both(not_below(away_a, minus_slack), not_above(away_b, slack));
  const Four of_second =
      both(both(not_below(side_b, one), not_below(away_b, minus_slack)), not_below(behind_a, minus_slack));
  const Four of_first =
      both(both(not_below(side_a, one), not_above(away_a, slack)), not_below(behind_b, minus_slack));
  const Four far = root(dot(away, away));
  const Four between_centres = far - one - one;
  const Four by_centres = both(of_centres, above(between_centres, best));
  best = choose(by_centres, between_centres, best);
  const Vectors to_second = plus(away, corner_b);
  const Four far_second = root(dot(to_second, to_second));
  const Four by_corner_b = both(of_second, above(far_second - one, best));
  best = choose(by_corner_b, far_second - one, best);
  const Vectors to_first = less(away, corner_a);
  const Four far_first = root(dot(to_first, to_first));
  const Four by_corner_a = both(of_first, above(far_first - one, best));
  best = choose(by_corner_a, far_first - one, best);
  const Four round = either(by_centres, either(by_corner_b, by_corner_a));
  const Four size = choose(by_corner_a, far_first, choose(by_corner_b, far_second, far));
  const Vectors joins = choose(by_corner_a, to_first, choose(by_corner_b, to_second, away));
  unsure = either(unsure, both(round, not_above(size, zero)));

  // Where they touch: on a flat side it is the other's point, and elsewhere either's own.
  const Vectors owner = choose(second_flat, b, a);
  const Vectors other_left = choose(second_flat, left_a, left_b);
  const Four turn_back = _mm256_xor_pd(turn, but(sign_bits(), second_flat));
  const Four right = both(below(turn_back, zero), sign_bits());
  const Vectors point = choose(alike, owner, signed_by(right, other_left));
  const Vectors first_of_flat{point.x + but(away.x, second_flat), point.y + but(away.y, second_flat)};
  const Vectors second_of_flat{point.x - both(away.x, second_flat), point.y - both(away.y, second_flat)};
  Gaps out;
  out.distance = choose(apart, one, best);
  out.joins = choose(round, joins, signed_by(but(sign_bits(), second_flat), owner));
  out.size = choose(round, size, one);
  const Four first_rests = but(round, by_corner_a);
  const Four second_rests = either(but(round, by_corner_b), by_corner_a);
  out.first_arm = but(choose(round, corner_a, first_of_flat), first_rests);
  out.second_arm = but(choose(round, corner_b, second_of_flat), second_rests);
  out.unsure = unsure;
  return out;
}

/// The three numbers of four pieces, a component at a time.
struct Numbers {
  Vectors centre;
  Four angle;
};

CALYX_AVX2_PART Numbers numbers_at(const double* from) {
  const Four a = at(from);      // x0 y0 t0 x1
  const Four b = at(from + 4);  // y1 t1 x2 y2
  const Four c = at(from + 8);  // t2 x3 y3 t3
  const Four x = _mm256_blend_pd(_mm256_blend_pd(a, b, 4), c, 2);
  const Four y = _mm256_blend_pd(_mm256_blend_pd(b, a, 2), c, 4);
  const Four angle = _mm256_blend_pd(_mm256_blend_pd(c, a, 4), b, 2);
  return {{_mm256_permute4x64_pd(x, 0x6c), _mm256_permute_pd(y, 0x5)}, _mm256_permute4x64_pd(angle, 0xc6)};
}

/// Which of the four pieces from `first` on there are.
CALYX_AVX2_PART Four pieces_from(std::uint32_t first, std::uint32_t count) {
  const auto left = static_cast<long long>(count) - static_cast<long long>(first);
  return _mm256_castsi256_pd(_mm256_cmpgt_epi64(_mm256_set1_epi64x(left), _mm256_setr_epi64x(0, 1, 2, 3)));
}

// The energy goes through its pieces and pairs in short loops, one after the other: what one of them waits
// for then hides behind its neighbours.

/// Puts the pieces in place; false where a number is out of range.
CALYX_AVX2_PART bool place(const double* numbers, std::uint32_t count, std::uint32_t groups, Scene& scene) {
  Four in_range = _mm256_castsi256_pd(_mm256_set1_epi64x(-1));
  Four angles[groups_max];
  for (std::uint32_t group = 0; group < groups; ++group) {
    const Four is_piece = pieces_from(4 * group, count);
    Numbers four{{none(), none()}, none()};
    if (4 * group < count) four = numbers_at(numbers + 12 * group);
    const Four largest =
        _mm256_max_pd(_mm256_max_pd(size_of(four.centre.x), size_of(four.centre.y)), size_of(four.angle));
    in_range = both(in_range, either(below(largest, all(range_max)), but(in_range, is_piece)));
    scene.centre[group] = choose(is_piece, four.centre, {all(nowhere), all(nowhere)});
    angles[group] = both(four.angle, is_piece);
  }
  for (std::uint32_t group = 0; group < groups; ++group)
    scene.facing[group] = quick_directions(angles[group]);
  for (std::uint32_t group = 0; group < groups; ++group) {
    const Vectors& centre = scene.centre[group];
    const Vectors& facing = scene.facing[group];
    const Square pieces_now = turned(centre.x, centre.y, facing.x, facing.y);
    for (std::uint32_t i = 0; i < 4; ++i) put(scene.piece[4 * group + i], pieces_now.row[i]);
  }
  return bits_of(in_range) == 0xfU;
}

/// Pushes in what sticks out of the circle, as `furthest_of` has it.
CALYX_AVX2_PART void push_in(std::uint32_t count, std::uint32_t groups, double radius, Four twice,
                             Scene& scene) {
  struct Reach {
    Vectors point;  // the corner, or the centre of the arc
    Four far;
    Four round;
  };
  Reach reaches[groups_max];
  Four outs[groups_max];
  Four sizes[groups_max];
  for (std::uint32_t group = 0; group < groups; ++group) {
    const Vectors& centre = scene.centre[group];
    const Vectors& facing = scene.facing[group];
    Reach& reach = reaches[group];
    reach.round = at_least(dot(centre, facing), none());
    const Vectors side = left_of(facing);
    const Four to_left = at_least(dot(centre, side), none());
    const Vectors corner = choose(to_left, plus(centre, side), less(centre, side));
    reach.point = choose(reach.round, centre, corner);
    reach.far = root(dot(reach.point, reach.point));
    const Four out = (reach.far + both(reach.round, all(1.0))) - all(radius);
    outs[group] = both(out, both(above(out, none()), pieces_from(4 * group, count)));
  }
  for (std::uint32_t group = 0; group < groups; ++group) {
    const Vectors& centre = scene.centre[group];
    Reach& reach = reaches[group];
    const Vectors direction =
        choose(above(reach.far, none()), times(all(1.0) / reach.far, centre), scene.facing[group]);
    reach.point = choose(reach.round, plus(centre, direction), reach.point);
    sizes[group] = root(dot(reach.point, reach.point));
  }
  for (std::uint32_t group = 0; group < groups; ++group) {
    const Reach& reach = reaches[group];
    const Four out = outs[group];
    const Four touches = above(out, none());
    const Vectors u = times(all(1.0) / sizes[group], reach.point);
    const Four force = twice * out;
    const Four turns = but(force * cross(less(reach.point, scene.centre[group]), u), reach.round);
    const Square pulls =
        turned(both(force * u.x, touches), both(force * u.y, touches), both(turns, touches), none());
    alignas(row_alignment) double depth[4];
    alignas(row_alignment) double pushed[4];
    put(depth, out * out);
    put(pushed, force);
    for (std::uint32_t i = 0; i < 4; ++i) {
      put(scene.pull[4 * group + i], none() + pulls.row[i]);
      scene.depths += depth[i];
      scene.shrinks -= pushed[i];
    }
  }
}

/// Pushes apart the pairs that are in each other; false where it is not sure of one.
CALYX_AVX2_PART bool push_apart(std::uint32_t count, Four twice, const double* allowed, const Nearby& nearby,
                                Scene& scene) {
  constexpr std::uint32_t at_once = 16;  // pairs
  const Four first_signs = _mm256_setr_pd(-0.0, -0.0, 0.0, 0.0);
  Gaps between[at_once / 4];
  Four unsure = none();
  for (std::uint32_t begin = 0; begin < nearby.count; begin += at_once) {
    const std::uint8_t* const i = nearby.first + begin;
    const std::uint8_t* const j = nearby.second + begin;
    const std::uint32_t left = nearby.count - begin < at_once ? nearby.count - begin : at_once;
    for (std::uint32_t n = 0; n < left; n += 4) {
      const Square a = turned(at(scene.piece[i[n]]), at(scene.piece[i[n + 1]]), at(scene.piece[i[n + 2]]),
                              at(scene.piece[i[n + 3]]));
      const Square b = turned(at(scene.piece[j[n]]), at(scene.piece[j[n + 1]]), at(scene.piece[j[n + 2]]),
                              at(scene.piece[j[n + 3]]));
      between[n / 4] =
          gaps({b.row[0] - a.row[0], b.row[1] - a.row[1]}, {a.row[2], a.row[3]}, {b.row[2], b.row[3]});
    }
    for (std::uint32_t n = 0; n < left; n += 4) {
      const Gaps& gap = between[n / 4];
      unsure = either(unsure, gap.unsure);
      Four apart = gap.distance;
      if (allowed != nullptr) {
        alignas(row_alignment) double free[4] = {};
        for (std::uint32_t lane = 0; lane < 4 && n + lane < left; ++lane)
          free[lane] = allowed[pair_index(i[n + lane], j[n + lane], count)];
        apart = apart + at(free);
      }
      const Four deep = both(apart, below(apart, none()));
      alignas(row_alignment) double depth[4];
      put(depth, deep * deep);
      for (const double one_depth : depth) scene.depths += one_depth;
      const Four force = twice * deep;
      const Vectors way = times(all(1.0) / gap.size, gap.joins);
      const Four along_x = force * way.x;
      const Four along_y = force * way.y;
      const Square of_first = turned(along_x, along_y, force * minus(cross(gap.first_arm, way)), none());
      const Square of_second = turned(along_x, along_y, force * cross(gap.second_arm, way), none());
      for (std::uint32_t lane = 0; lane < 4; ++lane) {
        double* first = scene.pull[i[n + lane]];
        double* second = scene.pull[j[n + lane]];
        put(first, at(first) + _mm256_xor_pd(of_first.row[lane], first_signs));
        put(second, at(second) + of_second.row[lane]);
      }
    }
  }
  return bits_of(unsure) == 0;
}

CALYX_AVX2 double energy(const double* numbers, std::uint32_t count, double stiffness, double* gradient,
                         const double* allowed, Nearby& nearby) {
  Scene scene;
  const std::uint32_t last = 3 * count;
  const double radius = numbers[last];
  const Four twice = all(2.0 * stiffness);
  // Whole eights, with at least one place that is nowhere.
  const std::uint32_t groups = (count / 8 + 1) * 2;
  bool sure = place(numbers, count, groups, scene);
  if (sure) {
    push_in(count, groups, radius, twice, scene);
    if (!is_nearby(nearby, numbers, row_of(last + 1))) look_up(scene, numbers, count, nearby);
    sure = push_apart(count, twice, allowed, nearby, scene);
  }
  if (!sure) return packing::energy(numbers, count, stiffness, gradient, allowed);
  // Each overwrites the nothing behind the one before.
  for (std::uint32_t i = 0; i + 1 < count; ++i) _mm256_storeu_pd(gradient + 3 * i, at(scene.pull[i]));
  for (std::uint32_t i = 0; i < 3; ++i) gradient[last - 3 + i] = scene.pull[count - 1][i];
  gradient[last] = scene.shrinks;
  return radius + stiffness * scene.depths;
}

}  // namespace avx2
}  // namespace

const Lanes* avx2_lanes() noexcept {
  static constexpr Lanes lanes{"avx2",        avx2::energy, avx2::largest,
                               avx2::heading, avx2::step,   avx2::remember};
  static const bool usable = __builtin_cpu_supports("avx2") != 0 && __builtin_cpu_supports("popcnt") != 0;
  return usable ? &lanes : nullptr;
}

}  // namespace calyx::kernels::packing

#else

namespace calyx::kernels::packing {

const Lanes* avx2_lanes() noexcept { return nullptr; }

}  // namespace calyx::kernels::packing

#endif
